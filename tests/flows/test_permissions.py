"""Each permission mode, and what a person may answer."""

from __future__ import annotations

import json
import uuid

from tests.flows.conftest import FleetMaker
from tests.flows.fleet import Fleet
from tests.support.model import ASK_WHICH_COLOUR
from tests.support.waiting import never


def fresh() -> str:
    return f"f-{uuid.uuid4().hex[:8]}"


def test_default_mode_asks_for_each_tool_and_does_what_each_answer_says(fleet: Fleet) -> None:
    """Two tools at once, of which one is allowed and one is not, and then a question of the agent's own."""
    yes, no = fresh(), fresh()
    run = fleet.launch(
        f"%bash touch {yes}\n%bash touch {no}\n%next\n{ASK_WHICH_COLOUR}\n%say You said: {{{{result}}}}", mode="default"
    )
    answered = {}
    for _ in range(2):
        asked = fleet.asked(run)
        command = asked["input"]["command"]
        answered[command] = asked["id"]
        assert (asked["kind"], asked["tool"], asked["cwd"]) == ("tool", "Bash", str(fleet.runner.work))
        assert fleet.run(run)["status"] == "WAITING"
        assert not (fleet.runner.work / no).exists()
        answer = ("allow", {}) if yes in command else ("deny", {"reason": "not on a Friday"})
        assert fleet.answer(asked, answer[0], **answer[1]) == 200
        assert fleet.answer(asked, "allow") == 409
    assert answered.keys() == {f"touch {yes}", f"touch {no}"}
    asked = fleet.asked(run)
    assert (asked["kind"], asked["input"]["questions"][0]["question"]) == ("question", "Which colour?")
    assert fleet.answer(asked, "allow", answers={"Which colour?": "Blue"}) == 200
    fleet.completed(run)
    assert (fleet.runner.work / yes).exists()
    assert not (fleet.runner.work / no).exists()
    assert "Blue" in fleet.text(run)
    refused = [one["output"] for one in fleet.payloads(run, "agent.tool_result") if one["is_error"]]
    assert ["not on a Friday" in str(output) for output in refused] == [True]
    decided = {one["id"]: one["status"] for one in fleet.approvals(run)}
    assert decided[answered[f"touch {yes}"]] == "allowed"
    assert decided[answered[f"touch {no}"]] == "denied"
    assert sorted(one["decision"] for one in fleet.payloads(run, "permission.resolved")) == ["allow", "allow", "deny"]


def test_accept_edits_edits_unasked_but_asks_before_a_command(fleet: Fleet) -> None:
    name = fresh()
    write = json.dumps({"file_path": f"{fleet.runner.work}/{name}", "content": "written"})
    run = fleet.launch(f"%tool Write {write}\n%next\n%bash python3 -c 'print(1)'\n%say done", mode="acceptEdits")
    asked = fleet.asked(run)
    assert asked["tool"] == "Bash"
    assert (fleet.runner.work / name).read_text() == "written"
    fleet.answer(asked, "allow")
    fleet.completed(run)


def test_dont_ask_denies_instead_of_asking(fleet: Fleet) -> None:
    name = fresh()
    run = fleet.launch(f"%bash touch {name} %% %say done", mode="dontAsk")
    fleet.completed(run)
    assert not (fleet.runner.work / name).exists()
    assert fleet.approvals(run) == []


def test_plan_mode_runs_nothing_before_a_plan_is_allowed_and_says_why_one_was_not(fleet: Fleet) -> None:
    name = fresh()
    hasty, careful = (json.dumps({"plan": plan}) for plan in ("1. delete everything", "1. touch a file"))
    plans = f"%tool ExitPlanMode {hasty}\n%next\n%tool ExitPlanMode {careful}\n%next"
    run = fleet.launch(f"%bash touch {name}-early\n%next\n{plans}\n%bash touch {name}\n%say done", mode="plan")
    assert fleet.answer(fleet.asked(run), "deny", reason="smaller steps please") == 200
    asked = fleet.asked(run)
    assert "smaller steps please" in str(fleet.payloads(run, "agent.tool_result"))
    assert (asked["kind"], asked["tool"]) == ("plan", "ExitPlanMode")
    assert "1. touch a file" in json.dumps(asked["input"])
    assert not (fleet.runner.work / f"{name}-early").exists()
    assert fleet.answer(asked, "allow") == 200
    after = fleet.wait(run, "WAITING", "COMPLETED")
    if after["status"] == "WAITING":  # the plan is approved, its command is asked for as in default mode
        asked = fleet.asked(run)
        assert asked["input"]["command"] == f"touch {name}"
        fleet.answer(asked, "allow")
    fleet.completed(run)
    assert not (fleet.runner.work / f"{name}-early").exists()


def test_without_permissions_a_question_of_the_agent_is_still_asked_and_answered(fleet: Fleet) -> None:
    name = fresh()
    run = fleet.launch(
        f"%bash touch {name}\n%next\n{ASK_WHICH_COLOUR}\n%say You said: {{{{result}}}}", mode="bypassPermissions"
    )
    asked = fleet.asked(run)
    assert asked["kind"] == "question"
    assert (fleet.runner.work / name).exists()
    assert fleet.answer(asked, "allow", answers={"Which colour?": "Blue"}) == 200
    fleet.completed(run)
    assert "Blue" in fleet.text(run)
    assert len(fleet.approvals(run)) == 1  # nothing else was asked


def test_a_run_that_waits_can_be_cancelled_and_its_question_is_withdrawn(fleet: Fleet) -> None:
    run = fleet.launch(f"%bash touch {fresh()}", mode="default")
    asked = fleet.asked(run)
    fleet.cancel(run)
    fleet.wait(run, "CANCELLED")
    assert fleet.approvals(run)[0]["status"] == "withdrawn"
    assert fleet.answer(asked, "allow") == 409
    fleet.hold(run)


def test_an_unanswered_question_expires_as_a_denial(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(server_env={"CORRAL_APPROVAL_TTL": "2"})
    name = fresh()
    run = fleet.launch(f"%bash touch {name} %% %say It said: {{{{result}}}}", mode="default")
    asked = fleet.asked(run)
    fleet.completed(run)
    assert not (fleet.runner.work / name).exists()
    assert [one["status"] for one in fleet.approvals(run)] == ["expired"]
    assert fleet.answer(asked, "allow") == 409


#: Its turn is cut off before the answer comes, so the agent asks for the same action when its session is resumed.
AGAIN = "%keep\n%bash touch {name}\n%say done"


def test_an_answer_given_while_the_runner_was_dead_applies_once_to_the_same_action_of_the_next_attempt(
    make_fleet: FleetMaker,
) -> None:
    fleet = make_fleet()
    name = fresh()
    run = fleet.launch(AGAIN.format(name=name), mode="default")
    asked = fleet.asked(run)
    fleet.runner.kill()
    assert fleet.answer(asked, "allow") == 200
    fleet.runner.start()
    fleet.completed(run)
    assert (fleet.runner.work / name).exists()
    assert [one["status"] for one in fleet.approvals(run)] == ["allowed"]
    fleet.hold(run)


def test_a_question_survives_a_killed_server_and_then_a_killed_runner_and_is_answered_after(
    make_fleet: FleetMaker,
) -> None:
    fleet = make_fleet()
    name = fresh()
    run = fleet.launch(AGAIN.format(name=name), mode="default")
    asked = fleet.asked(run)
    fleet.server.kill()
    fleet.server.restart()
    assert fleet.approvals(run)[0]["status"] == "pending"
    assert fleet.run(run)["status"] == "WAITING"
    fleet.runner.kill()
    fleet.runner.start()
    fleet.wait_event(run, "session.interrupted")
    fleet.wait_event(run, "permission.requested", count=2)
    assert fleet.asked(run)["id"] == asked["id"]
    assert not (fleet.runner.work / name).exists()
    assert fleet.answer(asked, "allow") == 200
    fleet.completed(run)
    assert (fleet.runner.work / name).exists()
    fleet.hold(run)


def test_waiting_counts_neither_as_idleness_nor_as_run_time(fleet: Fleet) -> None:
    run = fleet.launch(f"%bash touch {fresh()} %% %say done", mode="default", idleSeconds=15, maxRunSeconds=16)
    asked = fleet.asked(run)
    never(lambda: fleet.run(run)["status"] != "WAITING", during=17, every=0.5)
    fleet.answer(asked, "allow")
    fleet.completed(run)
