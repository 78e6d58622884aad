"""What Claude Code asks, and what comes of each answer."""

import json

from tests.engines.worker import Worker
from tests.support.model import ASK_WHICH_COLOUR
from tests.support.waiting import eventually, never


def write(name: str) -> str:
    return f'%tool Write {{"file_path": "{{{{cwd}}}}/{name}", "content": "written"}}'


def test_an_allowed_tool_runs_a_denied_one_says_why_a_question_is_answered_and_a_cancel_withdraws_the_next(
    worker: Worker,
) -> None:
    turns = [write("yes"), write("no"), ASK_WHICH_COLOUR, "%bash touch file", "%say x"]
    worker.start(" %% %next %% ".join(turns), mode="default")
    asked = worker.wait_event("permission.requested")
    call = worker.payloads("agent.tool_call")[0]
    assert asked == {
        "request_id": asked["request_id"],
        "kind": "tool",
        "tool": "Write",
        "input": {"file_path": str(worker.cwd / "yes"), "content": "written"},
        "cwd": str(worker.cwd),
        "tool_use_id": call["tool_use_id"],
        "description": f"Write {worker.cwd / 'yes'}",
    }
    assert worker.payloads("agent.needs_attention")[0]["message"] == f"Claude Code asks: {asked['description']}"
    never((worker.cwd / "yes").exists, during=0.2)
    worker.answer({"request_id": "unknown"}, "allow")
    worker.answer(asked, "allow")
    worker.answer(worker.wait_event("permission.requested", count=2), "deny", reason="not on a Friday")
    question = worker.wait_event("permission.requested", count=3)
    assert "not on a Friday" in worker.payloads("agent.tool_result")[1]["output"]
    assert (question["kind"], question["description"]) == ("question", "AskUserQuestion Which colour?")
    assert question["input"]["questions"][0]["question"] == "Which colour?"
    worker.answer(question, "allow", answers={"Which colour?": "Blue"})
    assert '"Which colour?"="Blue"' in worker.wait_event("agent.tool_result", count=3)["output"]
    open_one = worker.wait_event("permission.requested", count=4)
    assert worker.payloads("permission.withdrawn") == []
    worker.say("cancel", cancel={"by": "ada", "message": "no"})
    assert worker.end()["type"] == "run.cancelled"
    assert worker.payloads("permission.withdrawn") == [{"request_id": open_one["request_id"]}]
    assert (worker.cwd / "yes").read_text() == "written"
    assert not (worker.cwd / "no").exists()
    assert not (worker.cwd / "file").exists()


def test_questions_of_parallel_sub_agents_are_open_at_once_and_answered_in_any_order(worker: Worker) -> None:
    def agent(name: str) -> str:
        prompt = f"%bash touch {name} %% %say ok"
        more = {"description": name, "subagent_type": "general-purpose", "run_in_background": False, "prompt": prompt}
        return f"%tool Agent {json.dumps(more)}"

    worker.start(f"{agent('one')} %% {agent('two')} %% %say done", mode="default")
    worker.wait_event("permission.requested", count=2)
    asked = {request["input"]["command"]: request for request in worker.payloads("permission.requested")}
    assert len({request["request_id"] for request in asked.values()}) == 2
    worker.answer(asked["touch two"], "allow")
    eventually((worker.cwd / "two").exists)
    assert not (worker.cwd / "one").exists()
    worker.answer(asked["touch one"], "allow")
    worker.completed()
    assert (worker.cwd / "one").exists()


def test_plan_mode_changes_nothing_until_a_plan_is_allowed_and_asks_after_that(worker: Worker) -> None:
    plans = [json.dumps({"plan": plan}) for plan in ("1. all at once", "1. write")]
    turns = [f"%tool ExitPlanMode {plans[0]}", write("early"), f"%tool ExitPlanMode {plans[1]}", write("late")]
    worker.start(" %% %next %% ".join(turns) + " %% %say done", mode="plan")
    asked = worker.wait_event("permission.requested")
    assert (asked["kind"], asked["input"]["plan"]) == ("plan", "1. all at once")
    assert asked["description"] == "ExitPlanMode 1. all at once"
    worker.answer(asked, "deny", reason="smaller steps")
    again = worker.wait_event("permission.requested", count=2)
    refused = [result["output"] for result in worker.payloads("agent.tool_result")]
    assert refused[0] == "smaller steps"
    assert "Plan mode" in refused[1]
    worker.answer(again, "allow")
    late = worker.wait_event("permission.requested", count=3)
    assert late["input"]["file_path"] == str(worker.cwd / "late")
    worker.answer(late, "allow")
    worker.completed()
    assert not (worker.cwd / "early").exists()
    assert (worker.cwd / "late").exists()


def test_what_is_allowed_runs_unasked_and_dont_ask_refuses_the_rest(worker: Worker) -> None:
    worker.start(f"%bash touch allowed %% {write('not')} %% %say x", mode="dontAsk", allowed_tools=["Bash(touch:*)"])
    worker.completed()
    assert worker.payloads("permission.requested") == []
    assert (worker.cwd / "allowed").exists()
    assert not (worker.cwd / "not").exists()
