"""Kill either side at any moment: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import signal

from tests.conftest import ServerMaker
from tests.flows.conftest import FleetMaker
from tests.flows.fleet import Escaped, Fleet, served_tokens
from tests.support.http import follow
from tests.support.model import Model
from tests.support.processes import is_alive
from tests.support.runner import claude_env
from tests.support.waiting import eventually

STEPS = "%repeat 8 %% %bash echo step-{{turn}}; sleep 0.15 %% %end %% %say all done"


def test_a_run_goes_on_while_the_server_is_killed_and_its_watcher_sees_every_event_once(make_fleet: FleetMaker) -> None:
    fleet = make_fleet()
    run = fleet.launch(STEPS)
    seen: list[int] = []
    for frame in follow(fleet.api, "/api/runs/:id/events/stream", run):
        if frame.id is None:
            continue
        seen.append(int(frame.id))
        if len(seen) in (5, 9):
            fleet.server.kill()
            fleet.server.restart()
    fleet.completed(run)
    fleet.hold(run)
    assert seen == list(range(1, len(fleet.events(run)) + 1))
    assert len(fleet.payloads(run, "run.started")) == 1
    results = [json.dumps(one) for one in fleet.payloads(run, "agent.tool_result")]
    assert [n for n in range(8) if f"step-{n + 1}" not in results[n]] == []


def test_events_made_while_the_server_is_away_arrive_in_order(make_fleet: FleetMaker) -> None:
    fleet = make_fleet()
    run = fleet.launch(
        "%bash touch begun; while [ ! -e away ]; do sleep 0.05; done %% %lines 50 %% %bash touch finished %% %say end"
    )
    eventually((fleet.runner.work / "begun").exists)
    fleet.server.kill()
    (fleet.runner.work / "away").touch()
    eventually((fleet.runner.work / "finished").exists, what="the run goes on without a server")
    fleet.server.restart()
    fleet.completed(run)
    fleet.hold(run)
    assert fleet.text(run) == "end"
    assert len(fleet.payloads(run, "run.started")) == 1


def test_with_both_sides_killed_the_tree_is_ended_and_the_run_resumed_by_the_next_start(
    make_fleet: FleetMaker, model: Model
) -> None:
    fleet = make_fleet()
    gate = fleet.runner.work / "gate"
    escaped = Escaped(fleet.runner.work, then=f"if [ ! -e {gate} ]; then touch {gate}; sleep 100; fi")
    run = fleet.launch(f"%keep\n{escaped.script}\n%say resumed and done")
    pids = escaped.pids()
    eventually(gate.exists)
    fleet.runner.kill()
    fleet.server.kill()
    escaped.file.unlink()
    escaped.assert_gone(pids)  # the worker noticed that its parent is gone
    fleet.server.restart()
    fleet.runner.start()
    fleet.completed(run)
    fleet.hold(run)
    assert fleet.payloads(run, "session.interrupted")
    assert len(fleet.payloads(run, "run.started")) == 2
    sessions = {one["session_id"] for one in fleet.payloads(run, "session.init")}
    assert len(sessions) == 1
    assert fleet.run(run)["usage"] == served_tokens(model, *sessions)
    again = escaped.pids() if escaped.file.exists() else []
    escaped.assert_gone(again)


def test_a_cancel_given_while_the_runner_was_dead_is_kept(make_fleet: FleetMaker) -> None:
    fleet = make_fleet()
    run = fleet.launch("%keep\n%bash sleep 100")
    fleet.wait_event(run, "agent.tool_call")
    fleet.runner.kill()
    fleet.cancel(run)
    fleet.runner.start()
    fleet.wait(run, "CANCELLED")
    fleet.hold(run)
    assert len(fleet.payloads(run, "run.started")) == 1


def test_a_runner_told_to_end_drains_and_takes_nothing_new(make_fleet: FleetMaker) -> None:
    fleet = make_fleet()
    go = fleet.runner.work / "go"
    run = fleet.launch(f"%bash touch on; while [ ! -e {go} ]; do sleep 0.05; done %% %say drained")
    eventually((fleet.runner.work / "on").exists)
    fleet.runner.process.signal(signal.SIGTERM)
    eventually(lambda: fleet.api.get("/api/v1/runners/available").json()["runners"] == [], what="it is draining")
    later = fleet.launch("%say later")
    assert fleet.runner.process.is_running()
    go.touch()
    fleet.completed(run)
    assert fleet.runner.process.wait() == 0
    assert fleet.run(later)["status"] == "QUEUED"
    assert fleet.api.get("/api/v1/runners").json()["runners"][0]["status"] in ("online", "offline")


def test_a_second_signal_ends_what_still_runs(make_fleet: FleetMaker) -> None:
    fleet = make_fleet()
    escaped = Escaped(fleet.runner.work)
    run = fleet.launch(escaped.script)
    pids = escaped.pids()
    fleet.runner.process.signal(signal.SIGTERM)
    eventually(lambda: fleet.api.get("/api/v1/runners/available").json()["runners"] == [], what="it is draining")
    fleet.runner.process.signal(signal.SIGTERM)
    fleet.runner.process.wait(30)
    escaped.assert_gone(pids)
    fleet.wait(run, "CANCELLED")
    fleet.hold(run)


def test_corral_up_interrupts_its_runs_at_a_signal_and_resumes_them_at_the_next_start(
    make_server: ServerMaker, model: Model, claude_binary: object
) -> None:
    server = make_server(command="up", started=False)
    work = server.data.parent / "work"
    work.mkdir()
    server.process.env.update({**claude_env(server.data.parent, model.url), "ALLOWED_DIRS": str(work)})
    server.start()
    fleet = Fleet(server, None, model)
    gate = work / "gate"
    escaped = Escaped(work, then=f"if [ ! -e {gate} ]; then touch {gate}; sleep 100; fi")
    run = fleet.launch(f"%keep\n{escaped.script}\n%say went on", cwd=work)
    pids = escaped.pids()
    eventually(gate.exists)
    server.process.signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert not any(is_alive(pid) for pid in pids)
    server.restart()
    fleet.completed(run)
    assert fleet.text(run) == "went on"
    assert fleet.payloads(run, "session.interrupted")
    fleet.hold(run)


def test_corral_up_killed_takes_its_runner_and_its_agents_along(
    make_server: ServerMaker, model: Model, claude_binary: object
) -> None:
    server = make_server(command="up", started=False)
    work = server.data.parent / "work"
    work.mkdir()
    server.process.env.update({**claude_env(server.data.parent, model.url), "ALLOWED_DIRS": str(work)})
    server.start()
    fleet = Fleet(server, None, model)
    escaped = Escaped(work)
    run = fleet.launch(f"%keep\n{escaped.script}\n%say never", cwd=work)
    pids = escaped.pids()
    server.kill()
    escaped.assert_gone(pids, within=15)
    server.restart()
    fleet.cancel(run)
    fleet.wait(run, "CANCELLED")
