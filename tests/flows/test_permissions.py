"""Each permission mode, and what a person may answer."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.flows.conftest import FleetMaker
from tests.flows.fleet import Fleet
from tests.support.waiting import never


def fresh() -> str:
    return f"f-{uuid.uuid4().hex[:8]}"


def test_default_mode_asks_and_an_allowed_tool_runs(fleet: Fleet) -> None:
    name = fresh()
    run = fleet.launch(f"%bash touch {name} %% %say done", mode="default")
    asked = fleet.asked(run)
    assert (asked["kind"], asked["tool"], asked["input"]["command"]) == ("tool", "Bash", f"touch {name}")
    assert asked["cwd"] == str(fleet.runner.work)
    assert fleet.run(run)["status"] == "WAITING"
    assert not (fleet.runner.work / name).exists()
    assert fleet.answer(asked, "allow") == 200
    assert fleet.answer(asked, "allow") == 409
    fleet.completed(run)
    assert (fleet.runner.work / name).exists()
    assert fleet.payloads(run, "permission.resolved")[0]["decision"] == "allow"
    assert [one["status"] for one in fleet.approvals(run)] == ["allowed"]


def test_a_denied_tool_does_not_run_and_the_agent_is_told_why(fleet: Fleet) -> None:
    name = fresh()
    run = fleet.launch(f"%bash touch {name} %% %say It said: {{{{result}}}}", mode="default")
    asked = fleet.asked(run)
    assert fleet.answer(asked, "deny", reason="not on a Friday") == 200
    assert fleet.answer(asked, "allow") == 409
    fleet.completed(run)
    assert not (fleet.runner.work / name).exists()
    assert "not on a Friday" in fleet.text(run)


def test_two_parallel_questions_are_two_approvals_answered_apart(fleet: Fleet) -> None:
    one, two = fresh(), fresh()
    run = fleet.launch(f"%bash touch {one}\n%bash touch {two}\n%say both done", mode="default")
    answered = []
    for _ in range(2):
        asked = fleet.asked(run)
        answered.append(asked["input"]["command"])
        assert fleet.answer(asked, "allow" if one in asked["input"]["command"] else "deny") == 200
    fleet.completed(run)
    assert sorted(answered) == sorted([f"touch {one}", f"touch {two}"])
    assert (fleet.runner.work / one).exists()
    assert not (fleet.runner.work / two).exists()


def test_accept_edits_edits_unasked_but_asks_before_a_command(fleet: Fleet) -> None:
    name = fresh()
    write = json.dumps({"file_path": f"{fleet.runner.work}/{name}", "content": "written"})
    run = fleet.launch(f"%tool Write {write}\n%next\n%bash python3 -c 'print(1)'\n%say done", mode="acceptEdits")
    asked = fleet.asked(run)
    assert asked["tool"] == "Bash"
    assert (fleet.runner.work / name).read_text() == "written"
    fleet.answer(asked, "allow")
    fleet.completed(run)


def test_bypass_permissions_never_asks(fleet: Fleet) -> None:
    name = fresh()
    run = fleet.launch(f"%bash touch {name} %% %say done", mode="bypassPermissions")
    fleet.completed(run)
    assert (fleet.runner.work / name).exists()
    assert fleet.approvals(run) == []


def test_dont_ask_denies_instead_of_asking(fleet: Fleet) -> None:
    name = fresh()
    run = fleet.launch(f"%bash touch {name} %% %say done", mode="dontAsk")
    fleet.completed(run)
    assert not (fleet.runner.work / name).exists()
    assert fleet.approvals(run) == []


def test_plan_mode_asks_for_the_plan_and_runs_nothing_before_it(fleet: Fleet) -> None:
    name = fresh()
    plan = json.dumps({"plan": "1. touch a file"})
    run = fleet.launch(
        f"%bash touch {name}-early\n%next\n%tool ExitPlanMode {plan}\n%next\n%bash touch {name}\n%say done", mode="plan"
    )
    asked = fleet.asked(run)
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


def test_a_rejected_plan_goes_back_to_the_agent_with_the_reason(fleet: Fleet) -> None:
    plan = json.dumps({"plan": "1. delete everything"})
    run = fleet.launch(f"%tool ExitPlanMode {plan}\n%say Understood: {{{{result}}}}", mode="plan")
    assert fleet.answer(fleet.asked(run), "deny", reason="smaller steps please") == 200
    fleet.completed(run)
    assert "smaller steps please" in fleet.text(run)


QUESTION = {
    "questions": [
        {
            "question": "Which colour?",
            "header": "Colour",
            "multiSelect": False,
            "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}],
        }
    ]
}


@pytest.mark.parametrize("mode", ["default", "bypassPermissions"])
def test_a_question_of_the_agent_is_answered_with_what_was_chosen(fleet: Fleet, mode: str) -> None:
    run = fleet.launch(f"%tool AskUserQuestion {json.dumps(QUESTION)}\n%say You said: {{{{result}}}}", mode=mode)
    asked = fleet.asked(run)
    assert asked["kind"] == "question"
    assert asked["input"]["questions"][0]["question"] == "Which colour?"
    assert fleet.answer(asked, "allow", answers={"Which colour?": "Blue"}) == 200
    fleet.completed(run)
    assert "Blue" in fleet.text(run)


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
