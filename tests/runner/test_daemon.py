"""A daemon's whole way, with a scripted server and a scripted worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.runner import outbox as outbox_module
from corral.runner.session import NotWelcomeError
from corral.runner.settings import Settings
from corral.wire.runner import Assignment, Cli
from corral.wire.runs import Engine
from tests.runner.conftest import Running, command, until
from tests.runner.fake_server import FakeServer, error, refuse_nothing
from tests.support.processes import is_alive

Assign = Callable[..., Assignment]


async def test_a_run_is_taken_streamed_and_ended(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("message:hello usage:7 done:bye"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert server.types(run.run_id) == ["run.started", "agent.message", "run.result", "run.completed"]
    assert [usage.output_tokens for usage in server.usage[run.run_id].values()] == [7]
    started = server.payloads(run.run_id, "run.started")[0]
    assert (started["runner"], started["engine"], started["cwd"]) == ("tester", "claude-code", run.cwd)
    assert server.order[:3] == ["health", "register", "poll"]
    assert server.authorizations == {"Bearer crl_test_key"}
    await until(lambda: server.polls[-1].held == [] and server.polls[-1].free_slots == 4)


async def test_an_assignment_that_is_offered_again_is_one_run(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = assign("message:once sleep:0.3 done:x")
    server.offer(run)
    server.offer(run)
    await until(lambda: "run.completed" in server.types(run.run_id))
    server.offer(run)
    await until(lambda: len(server.polls) > 3)
    assert len(server.payloads(run.run_id, "agent.message")) == 1


async def test_a_run_outside_the_allowed_directories_fails_and_says_so(
    server: FakeServer, runner: Running, assign: Assign, folder: Path
) -> None:
    (folder / "work" / "way-out").symlink_to("/etc")
    runs = [
        server.offer(assign("done:x", cwd=cwd)) for cwd in ("/etc", f"{folder}/work/way-out", f"{folder}/work/../..")
    ]
    for run in runs:
        await until(lambda run=run: server.types(run.run_id))  # type: ignore[misc]
        [failed] = server.payloads(run.run_id, "run.failed")
        assert failed["code"] == "directory_not_allowed"
        assert run.cwd in failed["message"]
        assert f"{folder}/work" in failed["hint"]


async def test_a_missing_directory_fails_the_run(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("done:x", cwd=assign("").cwd + "/nowhere"))
    await until(lambda: server.types(run.run_id))
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "directory_missing"


async def test_the_clis_environment_has_the_mark_and_never_the_runners_key(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("env done:x", env={"TOKEN_OF_THE_AGENT": "t"}))
    await until(lambda: "run.completed" in server.types(run.run_id))
    seen = json.loads(server.payloads(run.run_id, "agent.message")[0]["text"])
    assert seen["CORRAL_RUN"] == run.run_id
    assert seen["TOKEN_OF_THE_AGENT"] == "t"
    assert not {"CORRAL_API_KEY", "SECRET_OF_MINE", "CORRAL_URL"} & set(seen)


async def test_a_runner_takes_no_more_runs_than_it_has_slots(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    runs = [server.offer(assign("hear done:x")) for _ in range(6)]
    await until(lambda: server.polls[-1].free_slots == 0)
    assert len(server.polls[-1].held) == 4
    server.ask(command("message", runs[0], b'{"text":"x"}'))
    await until(lambda: server.types(runs[4].run_id))
    assert not server.types(runs[5].run_id)


async def test_a_session_that_the_server_does_not_know_is_begun_anew_and_runs_go_on(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("hear done:x"))
    await until(lambda: "run.started" in server.types(run.run_id))
    server.sessions.clear()
    await until(lambda: len(server.registered) == 2 and server.polls[-1].session in server.sessions)
    assert [one.run_id for one in server.polls[-1].held] == [run.run_id]
    server.ask(command("message", run, b'{"text":"x"}'))
    await until(lambda: "run.completed" in server.types(run.run_id))


async def test_a_session_that_is_taken_again_and_again_ends_the_runner(server: FakeServer, settings: Settings) -> None:
    running = Running(settings)
    for count in (1, 2):
        await until(lambda count=count: len(server.registered) == count and server.polls)  # type: ignore[misc]
        server.sessions.clear()
        server.hint()
    with pytest.raises(NotWelcomeError, match="copied to another machine"):
        await running.ended()
    assert len(server.registered) == 2


async def test_a_key_that_is_revoked_later_does_not_end_the_runs(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.runner.daemon.REFUSED_SECONDS", 0.1)
    monkeypatch.setattr(outbox_module, "REFUSED_SECONDS", 0.1)
    run = server.offer(assign("message:a sleep:1 message:b done:x"))
    await until(lambda: "agent.message" in server.types(run.run_id))
    server.refuse = lambda _path, _body: (401, error("Authentication required"))
    await until(lambda: not list(runner.daemon._holdings.running))
    server.refuse = refuse_nothing
    await until(lambda: "run.completed" in server.types(run.run_id))


async def test_a_drain_finishes_what_is_here_and_takes_nothing_new(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("hear done:x"))
    await until(lambda: "run.started" in server.types(run.run_id))
    runner.daemon.stopping.again()
    await until(lambda: server.polls[-1].draining)
    other, polls = server.offer(assign("done:x")), len(server.polls)
    await until(lambda: len(server.polls) >= polls + 2)  # the heartbeat goes on
    server.ask(command("message", run, b'{"text":"x"}'))
    await runner.ended()
    assert server.types(run.run_id)[-1] == "run.completed"
    assert server.types(other.run_id) == []


async def test_the_spare_worker_takes_the_next_run(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.runner.workers.SPARE_DELAY_SECONDS", 0.0)
    first = server.offer(assign("done:x"))
    await until(lambda: "run.completed" in server.types(first.run_id))
    [spare] = await until(runner.daemon._workers.pids)
    second = server.offer(assign("env done:x"))
    await until(lambda: "run.completed" in server.types(second.run_id))
    assert server.payloads(second.run_id, "run.started")[0]["pid"] == spare
    assert json.loads(server.payloads(second.run_id, "agent.message")[0]["text"])["CORRAL_RUN"] == second.run_id
    await runner.stop()
    assert not is_alive(spare)


async def test_clis_that_appear_later_are_registered_when_nothing_is_held(
    server: FakeServer, settings: Settings, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Cli] = []

    async def detect(env: object) -> list[Cli]:
        return list(found)

    monkeypatch.setattr("corral.runner.clis.detect", detect)
    monkeypatch.setattr("corral.runner.daemon.CLIS_EVERY_SECONDS", 0.05)
    running = Running(settings)
    run = server.offer(assign("hear done:x"))
    await until(lambda: "run.started" in server.types(run.run_id))
    found.append(Cli(Engine.CLAUDE_CODE, "2.0", signed_in=True))
    polls = len(server.polls)
    await until(lambda: len(server.polls) > polls + 2)
    assert len(server.registered) == 1
    server.ask(command("message", run, b'{"text":"x"}'))
    await until(lambda: len(server.registered) == 2)
    assert server.registered[-1].clis == found
    await until(lambda: server.polls[-1].session in server.sessions)
    await running.stop()
