"""How a run is ended: by a person, by a limit, by a rule. Whatever it started ends with it."""

from __future__ import annotations

import json

import pytest

from tests.flows.fleet import Escaped, Fleet


def test_cancelling_a_running_run_ends_its_whole_process_tree(fleet: Fleet) -> None:
    escaped = Escaped(fleet.runner.work)
    run = fleet.launch(escaped.script)
    pids = escaped.pids()
    fleet.cancel(run)
    fleet.wait(run, "CANCELLED")
    escaped.assert_gone(pids)
    fleet.hold(run)
    assert fleet.payloads(run, "run.cancelled")


def test_a_completed_run_leaves_no_process_behind(fleet: Fleet) -> None:
    escaped = Escaped(fleet.runner.work, then="true")
    run = fleet.launch(f"{escaped.script} %% %say done")
    pids = escaped.pids()
    fleet.completed(run)
    escaped.assert_gone(pids)


def test_cancelling_while_the_model_stalls_is_quick(fleet: Fleet) -> None:
    run = fleet.launch("%say begin %% %stall")
    fleet.wait(run, "RUNNING")
    fleet.cancel(run)
    fleet.wait(run, "CANCELLED", within=15)
    fleet.hold(run)


def test_an_agent_that_falls_silent_is_ended_by_the_watchdog(fleet: Fleet) -> None:
    run = fleet.launch("%say begin %% %stall", idleSeconds=4)
    failure = fleet.failure(run)
    assert failure["code"] == "idle_timeout"
    fleet.hold(run)


def test_an_agent_that_writes_a_long_file_is_not_silent(fleet: Fleet) -> None:
    write = json.dumps({"file_path": f"{fleet.runner.work}/long.txt", "content": "one more line\n" * 30})
    run = fleet.launch(f"%pace 15\n%tool Write {write}\n%next\n%say written", idleSeconds=6)
    fleet.completed(run)


def test_a_run_ends_at_its_maximum_of_turns(fleet: Fleet) -> None:
    run = fleet.launch("%repeat 10 %% %bash echo {{turn}} %% %end %% %say never", maxTurns=2)
    failure = fleet.failure(run)
    assert failure["code"] == "max_turns"
    assert len(fleet.payloads(run, "agent.tool_call")) <= 3


def test_a_run_ends_at_its_maximum_run_time_with_its_tree(fleet: Fleet) -> None:
    escaped = Escaped(fleet.runner.work)
    run = fleet.launch(escaped.script, maxRunSeconds=6)
    failure = fleet.failure(run)
    assert failure["code"] == "run_timeout"
    if escaped.file.exists():  # on a very slow machine the agent may not have come so far
        escaped.assert_gone(escaped.pids())


def test_a_symlink_out_of_the_allowed_directory_is_refused_by_the_runner_itself(fleet: Fleet) -> None:
    link = fleet.runner.work / "way-out"
    if not link.is_symlink():
        link.symlink_to("/etc")
    run = fleet.launch("%bash pwd", cwd=link)
    failure = fleet.failure(run)
    assert failure["code"] == "directory_not_allowed"
    assert "/etc" in failure["message"]
    assert not fleet.payloads(run, "session.init")


def test_a_directory_that_is_not_there_fails_the_run_by_name(fleet: Fleet) -> None:
    run = fleet.launch("%say hi", cwd=fleet.runner.work / "no-such-directory")
    failure = fleet.failure(run)
    assert failure["code"] == "directory_missing"
    assert "no-such-directory" in failure["message"]


@pytest.mark.parametrize("outside", ["/etc", "/", "{work}/../../etc", "{work}-sibling"])
def test_a_directory_outside_is_refused_at_the_launch(fleet: Fleet, outside: str) -> None:
    cwd = outside.format(work=fleet.runner.work)
    answer = fleet.api.post("/api/v1/runs", body={"prompt": "p", "cwd": cwd})
    assert answer.status_code == 400
    assert "cwd" in answer.json()["error"]["message"]
