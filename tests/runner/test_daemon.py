"""A daemon's whole way, with a scripted server and a scripted worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from corral.runner import job as job_module
from corral.runner import outbox as outbox_module
from corral.runner import spool
from corral.runner.session import NotWelcomeError
from corral.runner.settings import Settings
from corral.runner.stopping import Phase
from corral.wire.events import EventBatch, EventType
from corral.wire.runner import Assignment, Cli, Held
from corral.wire.runs import Engine
from tests.runner.conftest import Running, command, is_alive, until
from tests.runner.fake_server import FakeServer, error, refuse_nothing

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
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    leap = 0.0
    monkeypatch.setattr(job_module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + leap))
    run = server.offer(assign("ask:q hear done:x", limits={"idle_seconds": 600, "run_seconds": 1000}))
    await until(lambda: "permission.requested" in server.types(run.run_id))
    leap = 5000.0
    polls = len(server.polls)
    await until(lambda: len(server.polls) > polls + 3)  # time enough for a watchdog
    server.ask(command("approve", run, b'{"request_id":"q","decision":"allow"}'))
    await until(lambda: server.types(run.run_id)[-1] == "agent.message")
    leap = 5700.0
    await until(lambda: server.types(run.run_id)[-1] == "run.failed")
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "idle_timeout"


async def test_an_unknown_engine_fails_the_run(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("done:x", engine=Engine.CODEX))
    await until(lambda: server.types(run.run_id))
    assert server.payloads(run.run_id, "run.failed")[0]["code"] == "engine_missing"


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


async def test_a_file_among_the_spools_that_cannot_be_read_keeps_no_runner_from_starting(
    server: FakeServer, settings: Settings, assign: Assign
) -> None:
    (settings.data / "spool" / "odd.1.jsonl").mkdir(parents=True)
    running = Running(settings)
    run = server.offer(assign("done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    await running.stop()


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


async def test_a_disk_that_is_full_for_a_moment_ends_neither_heartbeat_nor_run(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, failures = spool.create, 0

    def full(folder: Path, held: Held, *, first: int = 0) -> spool.Spool:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise OSError(28, "No space left on device")
        return create(folder, held, first=first)

    monkeypatch.setattr(spool, "create", full)
    run = server.offer(assign("done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))


async def test_a_disk_that_fills_up_fails_the_run_and_says_so(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = spool.Spool.append

    def full(self: spool.Spool, type: EventType, payload: bytes, *, at: float | None = None) -> int:
        if type == EventType.AGENT_MESSAGE:
            raise OSError(28, "No space left on device")
        return append(self, type, payload, at=at)

    monkeypatch.setattr(spool.Spool, "append", full)
    run = server.offer(assign("message:x hang"))
    await until(lambda: "run.failed" in server.types(run.run_id))
    [failed] = server.payloads(run.run_id, "run.failed")
    assert failed["code"] == "runner_disk"
    assert "No space left" in failed["message"]
    assert not is_alive(server.payloads(run.run_id, "run.started")[0]["pid"])


async def test_a_run_that_is_fenced_while_its_end_does_not_fit_on_the_disk_lets_go(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, tried = spool.Spool.append, 0

    def full(self: spool.Spool, type: EventType, payload: bytes, *, at: float | None = None) -> int:
        nonlocal tried
        if type == EventType.RUN_COMPLETED:
            tried += 1
            raise OSError(28, "No space left on device")
        return append(self, type, payload, at=at)

    monkeypatch.setattr(spool.Spool, "append", full)
    run = server.offer(assign("done:x"))
    await until(lambda: tried)
    server.lose(Held(run.run_id, 1, run.lease))
    await until(lambda: server.polls[-1].held == [] and server.polls[-1].free_slots == 4)
    assert tried < 5
