"""What people and the server say to a run that is here arrives once, and its result is told until it is heard."""

from __future__ import annotations

from collections.abc import Callable

from corral.wire.runner import Assignment
from tests.runner.conftest import Running, command, until
from tests.runner.fake_server import FakeServer, error

Assign = Callable[..., Assignment]


async def test_an_approval_reaches_the_agent_once(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("ask:q1 done:x"))
    await until(lambda: "permission.requested" in server.types(run.run_id))
    answer = server.ask(command("approve", run, b'{"request_id":"q1","decision":"allow"}'))
    late = server.ask(command("approve", run, b'{"request_id":"q1","decision":"deny"}'))
    await until(lambda: "run.completed" in server.types(run.run_id) and late.id in server.results)
    assert server.payloads(run.run_id, "agent.message")[0]["text"] == "q1 allow"
    assert [result.status for result in server.results[answer.id]] == ["done"]
    assert [result.status for result in server.results[late.id]] == ["failed"]


async def test_a_message_reaches_the_live_run(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("hear done:x"))
    server.ask(command("message", run, b'{"text":"listen to me"}'))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert server.payloads(run.run_id, "agent.message")[0]["text"] == "listen to me"


async def test_unknown_commands_and_commands_for_ended_runs_are_answered(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = assign("")
    unknown, orphaned = server.ask(command("teleport", run)), server.ask(command("cancel", run))
    await until(lambda: len(server.results) == 2)
    assert server.results[unknown.id][0].status == "unsupported"
    assert server.results[orphaned.id][0].status == "failed"


async def test_a_commands_result_is_told_until_it_is_heard_and_the_command_done_once(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("hear hear done:x"))
    refused: list[str] = []

    def refuse(path: str, body: bytes) -> tuple[int, object] | None:
        if "/commands/" in path and len(refused) < 3:
            refused.append(path)
            return 503, error("The database is away")
        return None

    server.refuse = refuse
    asked = server.ask(command("message", run, b'{"text":"one"}'))
    await until(lambda: asked.id in server.results)
    server.ask(command("message", run, b'{"text":"two"}'))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert [m["text"] for m in server.payloads(run.run_id, "agent.message")] == ["one", "two"]
    assert len(refused) == 3


async def test_a_result_that_the_server_lost_is_told_again_and_the_command_not_done_again(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("hear hear done:x"))
    asked = server.ask(command("message", run, b'{"text":"one"}'))
    await until(lambda: asked.id in server.results)
    await until(lambda: asked.id in runner.daemon._journal.state.told)
    del server.results[asked.id]
    await until(lambda: asked.id in server.results)
    server.ask(command("message", run, b'{"text":"two"}'))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert [m["text"] for m in server.payloads(run.run_id, "agent.message")] == ["one", "two"]
