"""Calls of Corral's tools on their way: asked until they are answered, and holding no slot meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corral.runner import calls as calls_module
from corral.runner.settings import Settings
from corral.runner.stopping import Phase
from corral.wire.runner import Assignment
from corral.wire.tools import run_token
from tests.runner.conftest import Running, command, until
from tests.runner.fake_server import FakeServer, error

Assign = Callable[..., Assignment]


def said(server: FakeServer, run: Assignment) -> list[str]:
    return [payload["text"] for payload in server.payloads(run.run_id, "agent.message", run.attempt)]


async def test_a_call_is_asked_with_the_runs_own_token_and_answered(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    server.answer("call-0", "two agents")
    run = server.offer(assign("call:list_agents done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert said(server, run) == ["call-0 says two agents"]
    [(name, asked)] = server.calls
    assert (name, asked.call_id, bytes(asked.input)) == ("list_agents", "call-0", b'{"number":0}')
    assert server.authorizations == {"Bearer crl_test_key", f"Bearer {run_token(run.run_id, run.lease)}"}
    assert server.order.index("events") < server.order.index("tool")  # the server knows first that it runs


async def test_a_call_is_asked_again_under_its_id_until_it_is_answered_be_the_server_away(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("call:ask_human done:x"))
    await until(lambda: len(server.calls) >= 3)
    await server.stop()
    server.answer("call-0", "yes", is_error=True)
    await server.start()
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert said(server, run) == ["call-0 error yes"]
    assert {call.call_id for _, call in server.calls} == {"call-0"}
    # The first answer comes at once, so that the runner knows who has to wait.
    assert [call.wait_seconds for _, call in server.calls][:2] == [0, 25]


async def test_a_server_that_answers_at_once_is_not_asked_in_a_hot_loop(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "AT_ONCE_SECONDS", 60.0)
    server.wait = 0.01
    run = server.offer(assign("call:ask_human done:x"))
    await until(lambda: len(server.calls) == 2)
    polls = len(server.polls)
    await until(lambda: len(server.polls) > polls + 3)
    assert len(server.calls) == 2
    server.answer("call-0", "yes")
    await server.stop()
    await until(lambda: runner.daemon._session.is_away)
    await server.start()  # who is back may know more
    await until(lambda: "run.completed" in server.types(run.run_id))


async def test_what_the_server_refuses_becomes_an_error_of_the_tool(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    server.refuse = lambda path, _body: (404, error("There is no tool x")) if "/tools/" in path else None
    run = server.offer(assign("call:x done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert said(server, run) == ["call-0 error There is no tool x"]


async def test_calls_side_by_side_arrive_in_order_and_are_answered_in_any(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("calls:delegate_task done:x"))
    await until(lambda: len({call.call_id for _, call in server.calls}) == 3)
    assert list(dict.fromkeys(call.call_id for _, call in server.calls)) == ["call-0", "call-1", "call-2"]
    for number in (2, 0, 1):
        server.answer(f"call-{number}", f"answer {number}")
        await until(lambda number=number: f"call-{number} says answer {number}" in said(server, run))  # type: ignore[misc]
    await until(lambda: "run.completed" in server.types(run.run_id))


async def test_waiting_for_a_call_counts_against_no_limit(
    server: FakeServer, runner: Running, assign: Assign, leap: Callable[[float], None]
) -> None:
    run = server.offer(assign("call:ask_human hear done:x", limits={"idle_seconds": 600, "run_seconds": 1000}))
    await until(lambda: server.calls)
    leap(86_400.0)
    polls = len(server.polls)
    await until(lambda: len(server.polls) > polls + 3)  # time enough for a watchdog
    server.answer("call-0", "at last")
    await until(lambda: said(server, run) == ["call-0 says at last"])
    leap(87_100.0)
    await until(lambda: server.types(run.run_id)[-1] == "run.failed")
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "idle_timeout"


@pytest.mark.parametrize("waits", ["call:delegate_task", "ask:q1"])
async def test_a_run_that_waits_holds_no_slot_and_takes_it_again_when_it_goes_on(
    server: FakeServer, runner: Running, assign: Assign, waits: str
) -> None:
    waiting = [server.offer(assign(f"{waits} hear done:x")) for _ in range(4)]
    await until(lambda: len(server.polls[-1].held) == 4 and server.polls[-1].free_slots)
    others = [server.offer(assign("hear done:x")) for _ in range(4)]
    await until(lambda: len(server.polls[-1].held) == 8 and server.polls[-1].free_slots == 0)
    server.answer("call-0", "go on")
    for run in waiting:
        server.ask(command("approve", run, b'{"request_id":"q1","decision":"allow"}'))
    await until(lambda: all(said(server, run) for run in waiting))
    late = server.offer(assign("done:x"))
    for run in others:
        server.ask(command("message", run, b'{"text":"x"}'))
    await until(lambda: all("run.completed" in server.types(run.run_id) for run in others))
    await until(lambda: len(server.polls[-1].held) == 4)
    assert server.types(late.run_id) == []  # the four that went on have all slots
    server.ask(command("message", waiting[0], b'{"text":"x"}'))
    await until(lambda: "run.completed" in server.types(late.run_id))


async def test_a_poll_that_offers_a_slot_is_renewed_when_a_run_that_waited_takes_it(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    server.wait = 60.0  # a poll is renewed because of what it says, not because its time is up
    run, *_ = [server.offer(assign(f"{first} hear done:x")) for first in ("call:delegate_task", *["message:x"] * 3)]
    await until(lambda: len(server.polls[-1].held) == 4 and server.polls[-1].free_slots == 1)
    server.answer("call-0", "go on")
    await until(lambda: server.polls[-1].free_slots == 0)
    await until(lambda: said(server, run) == ["call-0 says go on"])


async def test_a_call_that_nobody_waits_for_any_more_is_dropped_and_the_clocks_go_on(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("drop:ask_human chat:0.05", limits={"run_seconds": 2.0}))
    await until(lambda: len(server.calls) > 1)
    server.ask(command("message", run, b'{"text":"never mind"}'))
    await until(lambda: server.payloads(run.run_id, "run.failed"))
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "run_timeout"


async def test_an_attempt_that_ends_asks_no_longer(server: FakeServer, runner: Running, assign: Assign) -> None:
    polite, away = (server.offer(assign(f"call:{name} done:x")) for name in ("ask_human", "delegate_task"))
    await until(lambda: {name for name, _ in server.calls} == {"ask_human", "delegate_task"})
    server.ask(command("cancel", polite, b'{"by":"ada","message":"Enough"}'))
    await until(lambda: "run.cancelled" in server.types(polite.run_id))
    await runner.stop(Phase.INTERRUPT)
    assert server.types(away.run_id)[-1] == "session.interrupted"


async def test_what_is_private_to_an_attempt_is_gone_when_it_has_ended_or_its_runner_was_killed(
    server: FakeServer, runner: Running, assign: Assign, settings: Settings
) -> None:
    left = settings.data / "private" / "of-the-runner-before"
    await until(lambda: server.polls)
    await runner.stop()
    left.mkdir(parents=True)
    again = Running(settings)
    await until(lambda: not left.exists())
    run = server.offer(assign("private hear done:x"))
    await until(lambda: said(server, run))
    path = Path(said(server, run)[0])
    assert path.read_text() == "s3cret"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    server.ask(command("message", run, b'{"text":"x"}'))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert not path.parent.exists()
    await again.stop()
