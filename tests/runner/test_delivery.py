"""What a run says reaches the server whole and in order, whatever happens to either side."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from corral.runner.settings import Settings
from corral.runner.stopping import Phase
from corral.wire.events import EventBatch
from corral.wire.runner import Assignment, Held
from tests.runner.conftest import Running, command, until
from tests.runner.fake_server import FakeServer, error, refuse_nothing
from tests.support.processes import is_alive

Assign = Callable[..., Assignment]


async def test_while_the_server_is_away_runs_go_on_and_nothing_is_lost(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("message:before sleep:0.5 messages:300 usage:3 done:x"))
    await until(lambda: "agent.message" in server.types(run.run_id))
    await server.stop()
    await until(lambda: not list(runner.daemon._holdings.running))
    await server.start()
    await until(lambda: "run.completed" in server.types(run.run_id))
    numbers = [event.n for event in server.events[run.run_id, 1]]
    assert numbers == list(range(1, 305))
    assert len(server.usage[run.run_id]) == 1
    assert len(server.registered) == 1  # a restart of the server needs no new session
    assert all(len(batch.events) <= 200 for _, batch in server.batches)
    assert server.events[run.run_id, 1][1].age < server.events[run.run_id, 1][0].age + 5


async def test_a_server_that_lost_power_gets_again_what_it_lost(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("messages:20 hear done:x"))
    await until(lambda: len(server.types(run.run_id)) == 21)
    server.forget_after(run.run_id, 1, 5)
    server.ask(command("message", run, b'{"text":"go on"}'))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert [event.n for event in server.events[run.run_id, 1]] == list(range(1, 25))


async def test_a_run_that_ended_is_sent_again_when_the_server_offers_it_again(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("messages:3 usage:4 done:x"))
    await until(lambda: server.polls[-1].held == [] and "run.completed" in server.types(run.run_id))
    server.forget_after(run.run_id, 1, 2)
    server.usage.clear()
    server.offer(msgspec.structs.replace(run, stored_n=2))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert len(server.payloads(run.run_id, "agent.message")) == 3
    assert len(server.usage[run.run_id]) == 1


async def test_a_fenced_attempt_is_killed_and_sends_only_what_it_spent(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("usage:1 tree:deaf sleep:0.3 usage:2 message:late hang"))
    await until(lambda: len(server.types(run.run_id)) == 2)
    server.fenced.add((run.run_id, 1))
    pids = [int(pid) for pid in server.payloads(run.run_id, "agent.message")[0]["text"].split()]
    await until(lambda: not any(map(is_alive, pids)))
    await until(lambda: len(server.usage[run.run_id]) == 2)
    await until(lambda: server.polls[-1].held == [])
    assert len(server.types(run.run_id)) == 2


async def test_an_event_that_the_server_refuses_is_replaced_by_one_that_says_so(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    def refuse(path: str, body: bytes) -> tuple[int, object] | None:
        if path.endswith("/events") and b"poison" in body and b"could not be stored" not in body:
            return 400, error("I do not like that word")
        return None

    server.refuse = refuse
    run = server.offer(assign("messages:5 message:poison messages:5 done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert len(server.payloads(run.run_id, "agent.message")) == 10
    [note] = server.payloads(run.run_id, "agent.needs_attention")
    assert "I do not like that word" in note["message"]


async def test_a_huge_text_is_cut_and_says_so(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("big:3000000 done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    [result] = server.payloads(run.run_id, "agent.tool_result")
    assert len(result["output"]) < 256 * 1024
    assert "Corral cut" in result["output"]


async def test_streamed_text_arrives_at_most_20_times_a_second_and_complete(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("tokens:200 message:whole done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    frames = server.tokens[run.run_id]
    assert "".join(frame.text for frame in frames) == "x" * 200
    assert [frame.offset for frame in frames] == [sum(len(f.text) for f in frames[:i]) for i in range(len(frames))]
    assert len(frames) < 20


async def test_what_could_not_be_sent_is_sent_by_the_next_start_before_it_registers(
    server: FakeServer, settings: Settings, assign: Assign
) -> None:
    first = Running(settings)
    run = server.offer(assign("message:x sleep:0.3 message:y wait"))
    await until(lambda: "agent.message" in server.types(run.run_id))
    await server.stop()
    await first.stop(Phase.INTERRUPT)
    server.order.clear()
    await server.start()
    second = Running(settings)
    await until(lambda: "register" in server.order)
    assert server.types(run.run_id)[-1] == "session.interrupted"
    assert server.order.index("events") < server.order.index("register")
    assert server.registered[0].uid == server.registered[-1].uid
    await second.stop()


async def test_what_the_server_does_not_take_yet_stays_held_over_a_restart(
    server: FakeServer, settings: Settings, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the server would queue a run that is over, and refuse the rest of its log."""
    monkeypatch.setattr("corral.runner.daemon.LEFTOVERS_SECONDS", 0.1)
    monkeypatch.setattr("corral.runner.daemon.FLUSH_SECONDS", dict.fromkeys(Phase, 0.1))
    first = Running(settings)
    run = server.offer(assign("message:x hear done:x"))
    await until(lambda: "agent.message" in server.types(run.run_id))
    server.refuse = lambda path, _: (503, error("not now")) if path.endswith("/events") else None
    server.ask(command("message", run, b'{"text":"go on"}'))
    await until(lambda: not list(first.daemon._holdings.running))
    await first.stop()
    polls = len(server.polls)
    second = Running(settings)
    await until(lambda: len(server.polls) > polls)
    assert server.polls[-1].held == [Held(run.run_id, 1, run.lease)]
    server.refuse = refuse_nothing
    await until(lambda: "run.completed" in server.types(run.run_id))
    await until(lambda: server.polls[-1].held == [])
    await second.stop()


async def test_batches_hold_at_most_200_events_and_a_megabyte(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    sizes: list[int] = []

    def measure(path: str, body: bytes) -> tuple[int, object] | None:
        if path.endswith("/events"):
            sizes.append(len(body))
            assert len(msgspec.json.decode(body, type=EventBatch).events) <= 200
        return None

    server.refuse = measure
    run = server.offer(assign("messages:1000 big:200000 big:200000 big:200000 big:200000 big:200000 big:200000 done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert max(sizes) < 1_100_000
    assert len(server.types(run.run_id)) == 1009


async def test_an_attempt_that_was_fenced_is_ended_when_a_restored_server_offers_it_again(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("messages:3 hang"))
    await until(lambda: len(server.types(run.run_id)) == 5)
    server.lose(Held(run.run_id, 1, run.lease))
    await until(lambda: server.polls[-1].held == [])
    server.lost.clear()
    server.fenced.clear()
    server.forget_after(run.run_id, 1, 2)
    server.offer(msgspec.structs.replace(run, stored_n=2))
    await until(lambda: "session.interrupted" in server.types(run.run_id))
    assert server.types(run.run_id) == ["run.started", *["agent.message"] * 4, "session.interrupted"]
    await until(lambda: server.polls[-1].held == [])


async def test_an_attempt_that_a_restored_server_counts_anew_begins_in_place_of_its_namesake(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("message:before done:x"))
    await until(lambda: server.polls[-1].held == [] and "run.completed" in server.types(run.run_id))
    server.events.clear()
    server.offer(assign("message:after done:y", run_id=run.run_id))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert server.payloads(run.run_id, "agent.message")[0]["text"] == "after"
    assert server.payloads(run.run_id, "run.completed")[0]["text"] == "y"
