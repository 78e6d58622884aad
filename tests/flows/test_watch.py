"""Launch a run, watch it, and see what it said, did and cost."""

from __future__ import annotations

import json

from tests.flows.fleet import Fleet, served_tokens
from tests.support.http import follow


def test_a_run_is_watched_live_from_its_launch_to_its_end(fleet: Fleet) -> None:
    run = fleet.launch("%say Hello from the agent.")
    frames = list(follow(fleet.api, "/api/runs/:id/events/stream", run))
    stored = [frame.json() for frame in frames if frame.id is not None]
    assert [event["sequence"] for event in stored] == list(range(1, len(stored) + 1))
    types = [event["event_type"] for event in stored]
    order = ["run.created", "run.started", "session.init", "agent.message", "run.result", "run.completed"]
    assert [kind for kind in types if kind in order] == order
    assert stored == fleet.events(run)
    assert fleet.text(run) == "Hello from the agent."
    done = fleet.run(run)
    assert done["status"] == "COMPLETED"
    assert done["costUsd"] > 0


def test_usage_is_what_the_model_served_class_by_class_over_several_turns(fleet: Fleet) -> None:
    first = "%bash echo one %% %usage in=11 out=22 read=333 write=44 %% %next"
    run = fleet.launch(f"{first} %% %bash echo two %% %say done %% %usage in=5 out=6")
    done = fleet.completed(run)
    session = fleet.payloads(run, "session.init")[0]["session_id"]
    served = fleet.model.served(session=session)
    assert len([one for one in served if one["status"] == "finished"]) == 3
    assert done["usage"] == served_tokens(fleet.model, session)
    assert done["usage"]["cacheReadTokens"] >= 333
    result = fleet.payloads(run, "run.result")[0]
    assert abs(result["cost_usd"] - done["costUsd"]) < 1e-5


def test_a_follow_up_costs_what_it_added_not_the_whole_session_again(fleet: Fleet) -> None:
    first = fleet.launch("%say one %% %usage in=1000 out=10")
    parent = fleet.completed(first)
    child_id = fleet.follow_up(first, "%say two %% %usage in=2000 out=20")
    child = fleet.completed(child_id)
    assert (parent["usage"]["inputTokens"], child["usage"]["inputTokens"]) == (1000, 2000)
    session = fleet.payloads(first, "session.init")[0]["session_id"]
    both = {name: parent["usage"][name] + child["usage"][name] for name in parent["usage"]}
    assert both == served_tokens(fleet.model, session)
    assert child["costUsd"] < 2.5 * parent["costUsd"]


def test_thinking_parallel_tools_and_failed_tools_are_logged(fleet: Fleet) -> None:
    (fleet.runner.work / "notes.txt").write_text("remember the milk\n")
    run = fleet.launch(
        """Look around.
%think Two things at once.
%bash cat notes.txt
%tool Read {"file_path": "{{cwd}}/missing.txt"}
%say I saw: {{result}}"""
    )
    fleet.completed(run)
    assert [one["text"] for one in fleet.payloads(run, "agent.thinking")] == ["Two things at once."]
    calls = fleet.payloads(run, "agent.tool_call")
    assert [call["name"] for call in calls] == ["Bash", "Read"]
    assert calls[0]["input"]["command"] == "cat notes.txt"
    results = {one["tool_use_id"]: one for one in fleet.payloads(run, "agent.tool_result")}
    assert "remember the milk" in json.dumps(results[calls[0]["tool_use_id"]])
    assert results[calls[0]["tool_use_id"]]["is_error"] is False
    assert results[calls[1]["tool_use_id"]]["is_error"] is True
    assert "remember the milk" in fleet.text(run)


def test_a_subagent_is_logged_from_start_to_stop_and_its_usage_counts(fleet: Fleet) -> None:
    inner = "%bash echo from-the-inside %% %say sub found {{{result}}}"
    tool = {
        "description": "count files",
        "subagent_type": "general-purpose",
        "prompt": inner,
        "run_in_background": False,
    }
    run = fleet.launch(f"%tool Agent {json.dumps(tool)}\n%say The sub-agent said: {{{{result}}}}")
    done = fleet.completed(run)
    (start,) = fleet.payloads(run, "agent.subagent_start")
    (stop,) = fleet.payloads(run, "agent.subagent_stop")
    assert start["description"] == "count files"
    assert start["tool_use_id"] == stop["tool_use_id"]
    bash = next(call for call in fleet.payloads(run, "agent.tool_call") if call["name"] == "Bash")
    assert bash["parent_tool_use_id"] == start["tool_use_id"]
    assert "from-the-inside" in fleet.text(run)
    session = fleet.payloads(run, "session.init")[0]["session_id"]
    assert done["usage"] == served_tokens(fleet.model, session)


def test_a_long_text_is_stored_whole_however_many_tokens_streamed(fleet: Fleet) -> None:
    run = fleet.launch("%lines 400")
    fleet.completed(run)
    message = fleet.payloads(run, "agent.message")[0]["text"]
    assert len(message.splitlines()) == 400


def test_an_error_of_the_model_fails_the_run_and_says_what_it_was(fleet: Fleet) -> None:
    run = fleet.launch("%error 400 invalid_request_error this model is not for you")
    failure = fleet.failure(run)
    assert "this model is not for you" in json.dumps(failure)
    assert failure["code"] == "model_api_error"
    fleet.hold(run)


def test_the_model_that_was_asked_for_is_called_again_while_it_is_overloaded_and_any_text_of_it_survives(
    fleet: Fleet,
) -> None:
    told = 'ünï 漢字 🐎 \u2028 \\u0000 <b>&amp;</b> "quotes" %percent'
    run = fleet.launch(f"%error 529 x1\n%say {told}", model="claude-haiku-4-5")
    fleet.completed(run)
    assert fleet.text(run) == told
    assert fleet.payloads(run, "session.retry")
    session = fleet.payloads(run, "session.init")[0]["session_id"]
    assert {one["model"] for one in fleet.model.served(session=session, kind="turn")} == {"claude-haiku-4-5"}


def test_the_runners_key_never_reaches_the_agent(fleet: Fleet) -> None:
    run = fleet.launch(
        "%bash env; cat /proc/$PPID/environ | tr '\\0' '\\n'; cat /proc/$PPID/cmdline %% %say {{result}}"
    )
    fleet.completed(run)
    log = json.dumps(fleet.events(run))
    assert "CORRAL_RUN=" in log
    assert "CORRAL_API_KEY" not in log
    assert fleet.server.key not in log
