"""What the agent says and does → events, tokens and ledger lines. Most tests read one run that is made once."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.worker import Worker, served
from tests.support.http import JSON
from tests.support.model import Model
from tests.support.processes import is_alive

TEXT = "one two three four five six seven 🐎 " * 20
SCRIPT = f"""
%error 529 x1
%chunk 2
%think let me see
%say I look.
%bash ls /does-not-exist
%tool Read {{"file_path": "{{{{cwd}}}}/note"}}
%say {TEXT}
%bash echo $TOLD; tr '\\0' ' ' < /proc/$PPID/cmdline
%say done: {{{{result}}}}
"""
SERVER = json.dumps({"command": "echo $$ > server.pid; exec sleep 300", "run_in_background": True})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, model: Model, claude_binary: Path) -> Iterator[Worker]:
    """A run that completed."""
    worker = Worker(tmp_path_factory.mktemp("run"), model)
    (worker.cwd / "note").write_text("noted")
    (worker.cwd / "CLAUDE.md").write_text("The secret word of this project is quokka.")
    worker.say("message")  # a line that cannot be read
    # Cut off before it had a session: it starts afresh.
    more: JSON = {"model": "claude-haiku-4-5", "system_prompt": "Answer as a wombat.", "resume": "interrupted"}
    worker.start(SCRIPT, env={"TOLD": "heard"}, **more)
    worker.completed()
    yield worker
    worker.kill()


def test_a_run_tells_its_session_its_words_its_tools_and_its_end_in_order(run: Worker) -> None:
    assert [line["line"] for line in run.lines[:2]] == ["ready", "child"]
    assert [event["type"] for event in run.events()] == [
        "session.init",
        "session.retry",
        "agent.thinking",
        "agent.message",
        "agent.tool_call",
        "agent.tool_call",
        "agent.tool_result",
        "agent.tool_result",
        "agent.message",
        "agent.tool_call",
        "agent.tool_result",
        "agent.message",
        "run.result",
        "run.completed",
    ]
    assert run.payloads("agent.thinking")[0]["text"] == "let me see"
    assert [one["text"] for one in run.payloads("agent.message")][:2] == ["I look.", TEXT.strip()]


def test_the_session_says_what_runs_and_how(run: Worker) -> None:
    init = run.payloads("session.init")[0]
    assert (init["permission_mode"], init["model"]) == ("bypassPermissions", "claude-haiku-4-5")
    assert init["cli_version"]
    assert "Bash" in init["tools"]


def test_a_run_of_nobody_has_none_of_corrals_tools(run: Worker) -> None:
    assert not [name for name in run.payloads("session.init")[0]["tools"] if name.startswith("mcp__")]
    assert not [file for file in run.private.iterdir() if file.is_file()]


def test_each_result_of_parallel_tools_names_its_call_and_a_failed_one_says_so(run: Worker) -> None:
    calls = {call["name"]: call for call in run.payloads("agent.tool_call")[:2]}
    results = {result["name"]: result for result in run.payloads("agent.tool_result")[:2]}
    assert calls["Bash"]["input"] == {"command": "ls /does-not-exist"}
    assert results["Bash"]["is_error"]
    assert "does-not-exist" in results["Bash"]["output"]
    assert results["Read"] == {
        "tool_use_id": calls["Read"]["tool_use_id"],
        "name": "Read",
        "output": results["Read"]["output"],
        "is_error": False,
        "parent_tool_use_id": None,
    }
    assert "noted" in results["Read"]["output"]


def test_streamed_tokens_add_up_to_the_texts_that_follow_them(run: Worker) -> None:
    streamed: dict[str, str] = {}
    for line in run.lines:
        if line["line"] == "token":
            token = line["token"]
            assert token["offset"] == len(streamed.setdefault(token["block"], ""))
            streamed[token["block"]] += token["text"]
    told = [event["payload"] for event in run.events() if event["type"] in {"agent.message", "agent.thinking"}]
    assert {one["block"]: one["text"] for one in told} == streamed


def test_a_retry_says_why_and_when(run: Worker) -> None:
    (retry,) = run.payloads("session.retry")
    assert (retry["status"], retry["attempt"]) == (529, 1)
    assert retry["delay_seconds"] > 0
    assert "529" in retry["message"]


def test_a_run_costs_what_was_served_and_says_so(run: Worker, model: Model) -> None:
    assert run.spent() == served(model, run.session)
    (line,) = run.usage()
    assert line["source"] == f"1/turn-1/{line['model']}"
    assert not line["estimated"]
    result = run.payloads("run.result")[0]
    assert (result["subtype"], result["is_error"], result["turns"]) == ("success", False, 4)
    assert result["session_id"] == run.session
    assert line["cost_micros"] == pytest.approx(result["cost_usd"] * 1e6, abs=1)


def test_what_a_run_would_cost_is_known_before_its_turn_ends(run: Worker, model: Model) -> None:
    assert run.spent(drafted=True) == served(model, run.session)


def test_instructions_and_environment_reach_the_agent_and_no_key_reaches_an_argument_list(run: Worker) -> None:
    sent = json.dumps([one["body"] for one in run.model.requests()])
    assert "quokka" in sent
    assert "Answer as a wombat." in sent
    text = run.completed()
    assert "heard" in text
    assert "--input-format" in text
    assert "sk-ant" not in text


def test_nothing_but_protocol_lines_reaches_the_job(run: Worker) -> None:
    assert {line["line"] for line in run.lines} == {"ready", "child", "alive", "event", "usage", "draft", "token"}
    assert "cannot be read" in run.log.read_text()


AGENT = {"description": "look", "subagent_type": "general-purpose", "model": "haiku"}
INNER = "%think inner %% %say inner words %% %bash echo deep %% %say got {{{result}}}"
LATER = "%bash sleep 0.5; echo late > late.txt %% %words 50"


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory, model: Model, claude_binary: Path) -> Iterator[Worker]:
    """A run that completed, with one sub-agent it waited for and one it left in the background."""
    worker = Worker(tmp_path_factory.mktemp("agents"), model)
    waited = json.dumps({**AGENT, "run_in_background": False, "prompt": INNER})
    left = json.dumps({**AGENT, "run_in_background": True, "prompt": LATER})
    turns = [f"%tool Agent {waited}", f"%tool Bash {SERVER}", f"%tool Agent {left} %% %say started it"]
    worker.start(" %% %next %% ".join(turns))
    worker.completed()
    yield worker
    worker.kill()


def test_a_sub_agent_starts_speaks_and_stops_under_the_call_that_made_it(agents: Worker) -> None:
    start, stop = agents.payloads("agent.subagent_start")[0], agents.payloads("agent.subagent_stop")[0]
    call = agents.payloads("agent.tool_call")[0]
    assert start["tool_use_id"] == stop["tool_use_id"] == call["tool_use_id"]
    assert (start["name"], start["description"]) == ("general-purpose", "look")
    assert (stop["status"], stop["summary"]) == ("completed", "got deep")
    inner = [e["payload"] for e in agents.events() if e["payload"].get("parent_tool_use_id") == call["tool_use_id"]]
    said = [one.get("text") or one.get("output") or one["input"]["command"] for one in inner]
    assert said == ["inner", "inner words", "echo deep", "deep", "got deep"]


def test_a_run_waits_for_the_sub_agents_it_left_in_the_background(agents: Worker) -> None:
    assert (agents.cwd / "late.txt").exists()
    assert len(agents.payloads("agent.subagent_stop")) == 2
    assert len(agents.payloads("run.result")) == 1


def test_a_command_left_in_the_background_ends_with_the_run_and_does_not_hold_it(agents: Worker) -> None:
    assert not is_alive(int((agents.cwd / "server.pid").read_text()))


def test_sub_agents_on_another_model_cost_what_was_served_on_lines_of_their_own(agents: Worker, model: Model) -> None:
    assert len(agents.spent()) == 2
    assert agents.spent() == served(model, agents.session)
    cost = agents.payloads("run.result")[0]["cost_usd"] * 1e6
    assert sum(line["cost_micros"] for line in agents.usage()) == pytest.approx(cost, abs=1)
