"""However an attempt ends, its processes are gone before that counts, and its last event says how."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from corral.runner import job as job_module
from corral.runner.stopping import Phase
from corral.wire.runner import Assignment, Held
from corral.wire.runs import Engine
from tests.runner.conftest import Running, command, until
from tests.runner.fake_server import FakeServer
from tests.support.processes import is_alive

Assign = Callable[..., Assignment]


async def test_cancel_is_polite_first(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("message:on wait"))
    await until(lambda: "agent.message" in server.types(run.run_id))
    server.ask(command("cancel", run, b'{"by":"ada","message":"Enough"}'))
    await until(lambda: "run.cancelled" in server.types(run.run_id))
    assert server.payloads(run.run_id, "run.cancelled") == [{"by": "ada", "message": "Enough", "politely": True}]


async def test_cancel_kills_a_tree_that_does_not_listen_also_what_called_setsid(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "CANCEL_GRACE_SECONDS", 0.3)
    run = server.offer(assign("tree:deaf orphan hang"))
    await until(lambda: len(server.payloads(run.run_id, "agent.message")) == 3)
    pids = [int(pid) for m in server.payloads(run.run_id, "agent.message")[:2] for pid in m["text"].split()]
    pids.append(server.payloads(run.run_id, "run.started")[0]["pid"])
    assert all(map(is_alive, pids))
    server.ask(command("cancel", run, b'{"by":"ada","message":"Enough"}'))
    await until(lambda: "run.cancelled" in server.types(run.run_id))
    assert not any(map(is_alive, pids))
    assert server.payloads(run.run_id, "run.cancelled") == [{"by": "ada", "message": "Enough"}]


async def test_what_a_completed_run_leaves_behind_is_ended_before_it_counts_as_completed(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("tree:good orphan done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    pids = [int(pid) for m in server.payloads(run.run_id, "agent.message")[:2] for pid in m["text"].split()]
    assert len(pids) == 3
    assert not any(map(is_alive, pids))


async def test_a_worker_that_dies_fails_the_run_with_its_last_words(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("draft:6 usage:7 draft:2 tree:good die"))
    await until(lambda: "run.failed" in server.types(run.run_id))
    [failed] = server.payloads(run.run_id, "run.failed")
    assert failed["code"] == "worker_died"
    assert "SIGKILL" in failed["message"]
    assert "something terrible" in failed["hint"]
    assert [usage.output_tokens for usage in server.usage[run.run_id].values()] == [7, 2]  # the 6 are among the 7
    assert not any(is_alive(int(pid)) for pid in server.payloads(run.run_id, "agent.message")[0]["text"].split())


async def test_silence_ends_a_run(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("message:x hang", limits={"idle_seconds": 0.5}))
    await until(lambda: "run.failed" in server.types(run.run_id))
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "idle_timeout"


async def test_a_run_that_takes_too_long_is_ended(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("chat:0.1", limits={"run_seconds": 1.0}))
    await until(lambda: "run.failed" in server.types(run.run_id))
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "run_timeout"


async def test_waiting_for_a_person_counts_against_no_limit(
    server: FakeServer, runner: Running, assign: Assign, leap: Callable[[float], None]
) -> None:
    run = server.offer(assign("ask:q hear done:x", limits={"idle_seconds": 600, "run_seconds": 1000}))
    await until(lambda: "permission.requested" in server.types(run.run_id))
    leap(5000.0)
    polls = len(server.polls)
    await until(lambda: len(server.polls) > polls + 3)  # time enough for a watchdog
    server.ask(command("approve", run, b'{"request_id":"q","decision":"allow"}'))
    await until(lambda: server.types(run.run_id)[-1] == "agent.message")
    leap(5700.0)
    await until(lambda: server.types(run.run_id)[-1] == "run.failed")
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "idle_timeout"


async def test_an_unknown_engine_fails_the_run(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("done:x", engine=Engine.CODEX))
    await until(lambda: server.types(run.run_id))
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "engine_missing"


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


async def test_a_lost_lease_ends_the_tree(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("tree:deaf hang"))
    await until(lambda: "agent.message" in server.types(run.run_id))
    pids = [int(pid) for pid in server.payloads(run.run_id, "agent.message")[0]["text"].split()]
    server.lose(Held(run.run_id, 1, run.lease))
    await until(lambda: not any(map(is_alive, pids)))
    await until(lambda: server.polls[-1].held == [])


async def test_the_next_attempt_of_a_run_waits_until_the_old_tree_is_gone(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    first = server.offer(assign("tree:deaf hang"))
    await until(lambda: "agent.message" in server.types(first.run_id))
    pids = [int(pid) for pid in server.payloads(first.run_id, "agent.message")[0]["text"].split()]
    server.offer(msgspec.structs.replace(first, attempt=2, lease="new", prompt="done:x"))
    await until(lambda: len(server.polls) > 2)
    assert all(map(is_alive, pids))
    assert server.types(first.run_id, 2) == []
    server.lose(Held(first.run_id, 1, first.lease))
    await until(lambda: "run.completed" in server.types(first.run_id, 2))
    assert not any(map(is_alive, pids))


async def test_the_second_signal_cancels_and_the_third_kills(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    polite, deaf = server.offer(assign("message:x wait")), server.offer(assign("tree:deaf hang"))
    await until(lambda: all("agent.message" in server.types(run.run_id) for run in (polite, deaf)))
    pids = [int(pid) for pid in server.payloads(deaf.run_id, "agent.message")[0]["text"].split()]
    runner.daemon.stopping.again()
    runner.daemon.stopping.again()
    await until(lambda: "run.cancelled" in server.types(polite.run_id))
    assert all(map(is_alive, pids))
    runner.daemon.stopping.again()
    await runner.ended()
    assert not any(map(is_alive, pids))
    assert server.types(deaf.run_id)[-1] == "run.cancelled"


async def test_an_interrupt_leaves_runs_that_can_be_resumed(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "INTERRUPT_GRACE_SECONDS", 0.3)
    polite, deaf = server.offer(assign("message:x wait")), server.offer(assign("tree:deaf hang"))
    await until(lambda: all("agent.message" in server.types(run.run_id) for run in (polite, deaf)))
    pids = [int(pid) for pid in server.payloads(deaf.run_id, "agent.message")[0]["text"].split()]
    await runner.stop(Phase.INTERRUPT)
    assert not any(map(is_alive, pids))
    for run in (polite, deaf):
        assert server.types(run.run_id)[-1] == "session.interrupted"


async def test_a_pause_is_an_interruption_with_a_reason_and_nothing_outlives_it(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "INTERRUPT_GRACE_SECONDS", 0.3)
    polite, deaf = server.offer(assign("message:x wait")), server.offer(assign("tree:deaf hang"))
    await until(lambda: all("agent.message" in server.types(run.run_id) for run in (polite, deaf)))
    pids = [int(pid) for pid in server.payloads(deaf.run_id, "agent.message")[0]["text"].split()]
    why = {"code": "budget", "message": "Used up", "hint": None, "by": "corral"}
    for run in (polite, deaf):
        server.ask(command("pause", run, msgspec.json.encode(why)))
        server.ask(command("cancel", run))  # the first word is carried out, and the server knows both
    await until(lambda: all("run.paused" in server.types(run.run_id) for run in (polite, deaf)))
    assert not any(map(is_alive, pids))
    assert [server.payloads(run.run_id, "run.paused") for run in (polite, deaf)] == [[why], [why]]
    assert server.types(polite.run_id)[-1] == "run.paused"
