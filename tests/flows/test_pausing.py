"""Runs are paused and go on: the process tree is gone meanwhile, the CLI's session and the log are one."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.flows.conftest import FleetMaker
from tests.flows.fleet import Escaped, Fleet, served_tokens
from tests.support.http import JSON
from tests.support.processes import is_alive
from tests.support.waiting import eventually


def pause(fleet: Fleet, run: str) -> None:
    answer = fleet.api.post("/api/runs/:id/pause", run)
    assert (answer.status_code, answer.json()) == (200, {"ok": True}), answer.text


def go_on(fleet: Fleet, run: str, message: str | None = None) -> None:
    body = {} if message is None else {"message": message}
    answer = fleet.api.post("/api/runs/:id/continue", run, body=body)
    assert answer.status_code == 200, answer.text


def whole(fleet: Fleet, run: str) -> JSON:
    """Assert that the run completed in one log and one session of its CLI, which its cost agrees with."""
    done = fleet.completed(run)
    events = fleet.events(run)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1)), fleet.told(run)
    assert events[-1]["event_type"] == "run.completed"
    (session,) = {one["session_id"] for one in fleet.payloads(run, "session.init")}
    assert done["usage"] == served_tokens(fleet.model, session)
    return done


class Gate:
    """A command that lasts the first time, and what it leaves running beside it."""

    def __init__(self, work: Path) -> None:
        self.escaped = Escaped(work)
        self.file = self.escaped.file.with_suffix(".gate")
        then = f"if [ ! -e {self.file} ]; then touch {self.file}; sleep 100; fi"
        self.escaped = Escaped(work, then)

    def script(self, last: str) -> str:
        return f"%keep\n{self.escaped.script}\n%say {last}"

    def closed(self) -> list[int]:
        """Wait until the command lasts, and return its processes."""
        pids = self.escaped.pids()
        eventually(self.file.exists, what="the agent's command lasts")
        self.escaped.file.unlink()
        return pids


def test_a_pause_ends_the_whole_process_tree_and_the_session_goes_on_with_or_without_a_message(fleet: Fleet) -> None:
    for message, last in ((None, "went on"), ("look here", "went on and heard {{user}}")):
        gate = Gate(fleet.runner.work)
        run = fleet.launch(gate.script(last))
        pids = gate.closed()
        pause(fleet, run)
        fleet.wait(run, "PAUSED")
        assert not any(is_alive(pid) for pid in pids)  # the end of the tree was proven before that was said
        assert fleet.run(run)["reason"] == "Paused by a person"
        go_on(fleet, run, message)
        done = whole(fleet, run)
        assert done["attempt"] == 2
        assert [one["code"] for one in fleet.payloads(run, "run.paused")] == ["paused"]
        assert fleet.text(run).startswith("went on")
        assert message is None or fleet.text(run).endswith(message)
        gate.escaped.assert_gone(gate.escaped.pids() if gate.escaped.file.exists() else [])


def test_a_pause_is_kept_while_both_sides_are_killed(make_fleet: FleetMaker) -> None:
    fleet = make_fleet()
    gate = Gate(fleet.runner.work)
    run = fleet.launch(gate.script("went on"))
    pids = gate.closed()
    fleet.runner.kill()
    pause(fleet, run)
    fleet.server.kill()
    fleet.server.restart()
    assert fleet.run(run)["status"] == "RUNNING"  # nobody who could know has said otherwise
    fleet.runner.start()
    fleet.wait(run, "PAUSED")
    gate.escaped.assert_gone(pids)
    assert [event["event_type"] for event in fleet.events(run)][-2:] == ["session.interrupted", "run.paused"]
    go_on(fleet, run)
    fleet.server.kill()  # right after it said so
    fleet.server.restart()
    assert whole(fleet, run)["attempt"] == 2


def test_a_run_paused_at_any_moment_is_paused_or_done_and_goes_on_whole(fleet: Fleet) -> None:
    dice = random.Random(4)
    runs = []
    for at in range(4):
        run = fleet.launch(f"%keep\n%bash echo one\n%bash echo two\n%say end {at}")
        fleet.wait(run, "RUNNING", "COMPLETED")
        time.sleep((at + dice.random()) * 0.4)  # any moment of its short life
        refused = fleet.api.post("/api/runs/:id/pause", run).status_code == 409
        runs.append((run, refused))
    for run, refused in runs:
        status = fleet.wait(run, "PAUSED", "COMPLETED")["status"]
        assert not (refused and status == "PAUSED")
        if status == "PAUSED":
            go_on(fleet, run)
        assert fleet.completed(run)
        assert [text for one in fleet.payloads(run, "agent.message") if (text := one["text"]).startswith("end")]
        sequence = [event["sequence"] for event in fleet.events(run)]
        assert sequence == list(range(1, len(sequence) + 1))


def test_an_answer_given_while_a_run_is_paused_applies_when_it_asks_again(fleet: Fleet) -> None:
    made = fleet.runner.work / "made-while-paused"
    run = fleet.launch(f"%keep\n%bash touch {made}\n%say did it", mode="default")
    approval = fleet.asked(run)
    pause(fleet, run)
    fleet.wait(run, "PAUSED")
    assert fleet.answer(approval, "allow") == 200
    assert fleet.run(run)["status"] == "PAUSED"
    assert not made.exists()
    go_on(fleet, run)
    fleet.completed(run)
    assert made.exists()
    assert fleet.approvals(run) == [] or {one["status"] for one in fleet.approvals(run)} == {"allowed"}


def test_a_completed_run_goes_on_beside_its_follow_up_in_a_fork_of_the_session(fleet: Fleet) -> None:
    run = fleet.launch("%say one")
    fleet.completed(run)
    child = fleet.follow_up(run, "%say two")
    fleet.completed(child)
    go_on(fleet, run, "%say three")
    done = fleet.completed(run)
    assert fleet.text(run) == "three"
    sessions = [one["session_id"] for one in fleet.payloads(run, "session.init")]
    assert [one["session_id"] for one in fleet.payloads(child, "session.init")] == sessions[:1]
    assert done["sessionId"] == sessions[1] != sessions[0]
    go_on(fleet, run, "%say four")
    fleet.completed(run)
    assert (fleet.text(run), fleet.run(run)["sessionId"]) == ("four", sessions[1])
