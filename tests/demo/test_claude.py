"""The real Claude Code binary in front of the scripted model: what tests of the whole system build on."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from corral.demo.server import ModelServer
from tests.demo.conftest import PATIENCE, Claude, Told, until


async def test_one_prompt_scripts_a_whole_run_and_is_billed_to_the_token(claude: Claude, scripted: ModelServer) -> None:
    told = await claude.run(
        "Hello\n"
        "%think I should look.\n%say I'll look.\n"
        "%bash echo one\n%bash echo two\n"
        "%say Got: {{result}}\n"
        '%tool Write {"file_path": "{{cwd}}/note.txt", "content": "{{user}} {{turn}}"}\n'
        "%error 529 x2\n"
        "%words 50\n%usage in=7 out=1000 read=20000 write=300",
        "--include-partial-messages",
    )
    assert [block["thinking"] for block in told.blocks("thinking")] == ["I should look."]
    assert told.texts()[:2] == ["I'll look.", "Got: one\ntwo"]
    assert [block["name"] for block in told.blocks("tool_use")] == ["Bash", "Bash", "Write"]
    assert (claude.cwd / "note.txt").read_text() == "Hello 2"
    retries = [message for message in told.messages if message.get("subtype") == "api_retry"]
    assert [retry["error_status"] for retry in retries] == [529, 529]
    assert any(message["type"] == "stream_event" for message in told.messages)
    assert _billed(told) == _served(scripted)


async def test_the_turns_of_a_loop_meet_the_clis_limit(claude: Claude) -> None:
    told = await claude.run("%repeat 10\n%bash echo {{turn}}\n%end", "--max-turns", "2")
    assert told.result["subtype"] == "error_max_turns"
    assert [block["content"] for block in told.blocks("tool_result")] == ["1", "2"]


async def test_a_sub_agent_plays_the_script_in_its_own_prompt(claude: Claude, scripted: ModelServer) -> None:
    agent = {
        "description": "count",
        "subagent_type": "general-purpose",
        "run_in_background": False,
        "prompt": "%bash echo deep %% %say I found {{{result}}}",
    }
    told = await claude.run(f"%tool Agent {json.dumps(agent)}\n%say It said: {{{{result}}}}")
    assert "I found deep" in told.result["result"]
    assert any(message.get("parent_tool_use_id") for message in told.messages)
    assert len({entry.key for entry in scripted.ledger.served}) == 2
    assert _billed(told) == _served(scripted)


async def test_what_the_cli_says_to_go_on_does_not_end_the_script(claude: Claude) -> None:
    told = await claude.run("%say half\n%stop max_tokens\n%say rest")
    assert told.result["result"] == "rest"


async def test_a_stalled_stream_is_cut_when_the_cli_is_killed_and_the_session_goes_on(
    claude: Claude, scripted: ModelServer
) -> None:
    first = await claude.run("Begin\n%say begun")
    process = await claude.start("%say some\n%stall", "--resume", first.session)
    await until(
        lambda: scripted.ledger.served[-1].status == "open" and scripted.ledger.served[-1].usage.output_tokens > 0
    )
    process.kill()
    await process.wait()
    await until(lambda: scripted.ledger.served[-1].status == "cut")
    again = await claude.run("%say I was told {{user}}", "--resume", first.session)
    assert (again.session, again.result["result"]) == (first.session, "I was told Begin")


async def test_a_run_killed_during_a_tool_goes_on_if_the_script_is_kept(claude: Claude, scripted: ModelServer) -> None:
    # The CLI keeps an answer only once it is whole and on disk, and a kill leaves the tool's own process behind.
    started = "echo $$ > pid; for i in $(seq 600); do test -e enough && break; sleep 0.1; done"
    process = await claude.start(f"%keep\n%bash {started}\n%say still here\n%bash echo x\n%say end")
    await until((claude.cwd / "pid").exists)
    session = scripted.ledger.served[-1].session
    process.kill()
    await process.wait()
    (claude.cwd / "enough").touch()
    told = await claude.run("What happened?", "--resume", session)
    assert told.texts() == ["still here", "end"]


async def test_a_newcomers_prompt_gets_a_believable_run(claude: Claude) -> None:
    told = await claude.run("Please write a hello.py")
    assert "scripted" in told.texts()[0]
    assert [block["name"] for block in told.blocks("tool_use")] == ["Bash", "Write"]
    assert (claude.cwd / "hello.py").read_text().startswith("# Written by")
    assert "wrote `hello.py`" in told.result["result"]


class Asked:
    """Answers permission questions, and remembers them."""

    def __init__(self) -> None:
        self.tools: list[tuple[str, dict[str, Any]]] = []

    async def __call__(self, tool: str, given: dict[str, Any], context: object) -> Any:
        from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny

        self.tools.append((tool, given))
        if tool == "Write":
            return PermissionResultDeny(message="not that file")
        if tool == "AskUserQuestion":
            return PermissionResultAllow(updated_input={**given, "answers": {"Which colour?": "Red"}})
        return PermissionResultAllow()


async def test_permissions_and_questions_reach_the_person(claude: Claude, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}]
    question = {"question": "Which colour?", "header": "Colour", "multiSelect": False, "options": options}
    asked = Asked()
    texts = await _converse(
        claude,
        asked,
        f"%tool AskUserQuestion {json.dumps({'questions': [question]})}\n%say {{{{result}}}}\n"
        '%tool Write {"file_path": "{{cwd}}/a.txt", "content": "a"}\n%say {{result}}',
        mode="default",
        monkeypatch=monkeypatch,
    )
    assert [tool for tool, _ in asked.tools] == ["AskUserQuestion", "Write"]
    assert '"Which colour?"="Red"' in texts[0]
    assert texts[1] == "not that file"
    assert not (claude.cwd / "a.txt").exists()


async def test_a_newcomers_plan_is_put_before_the_person(claude: Claude, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    texts = await _converse(claude, asked, "Add a feature", mode="plan", monkeypatch=monkeypatch)
    [(tool, given)] = asked.tools
    assert tool == "ExitPlanMode"
    assert given["plan"].startswith("# Plan\n\nAsked: Add a feature")
    assert "approved" in texts[-1]


async def test_a_message_sent_while_a_tool_runs_is_heard(
    claude: Claude, scripted: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = claude.cwd / "go"
    wait = f"for i in $(seq 200); do test -e {go} && break; sleep 0.1; done"
    texts = await _converse(
        claude,
        Asked(),
        f"%bash {wait}\n%say I heard: {{{{user}}}}",
        mode="bypassPermissions",
        monkeypatch=monkeypatch,
        live=("hurry up", go),
    )
    assert texts == ["I heard: hurry up"]


async def _converse(
    claude: Claude,
    asked: Asked,
    prompt: str,
    *,
    mode: Any,
    monkeypatch: pytest.MonkeyPatch,
    live: tuple[str, Path] | None = None,
) -> list[str]:
    """The texts of an SDK session's turn. A live message is sent once a tool runs, its file made once it is sent."""
    from claude_agent_sdk import AssistantMessage, ClaudeAgentOptions, ClaudeSDKClient, TextBlock, ToolUseBlock

    for name in set(os.environ) - {"PATH"}:  # the SDK hands all of it on
        monkeypatch.delenv(name)
    options = ClaudeAgentOptions(
        cli_path=claude.binary,
        cwd=claude.cwd,
        env=claude.env,
        permission_mode=mode,
        can_use_tool=None if mode == "bypassPermissions" else asked,
    )
    texts = []
    async with asyncio.timeout(PATIENCE), ClaudeSDKClient(options) as client:
        await client.query(prompt)
        async for message in client.receive_response():
            for block in message.content if isinstance(message, AssistantMessage) else ():
                if isinstance(block, TextBlock):
                    texts.append(block.text)
                elif isinstance(block, ToolUseBlock) and live:
                    await client.query(live[0])
                    live[1].touch()
    return texts


def _billed(told: Told) -> dict[str, int]:
    """What the CLI says its session cost, over all models and sub-agents."""
    models = told.result["modelUsage"].values()
    names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    return {name: sum(model[name] for model in models) for name in names}


def _served(scripted: ModelServer) -> dict[str, int]:
    used = [entry.usage for entry in scripted.ledger.served if entry.status == "finished"]
    return {
        "inputTokens": sum(usage.input_tokens for usage in used),
        "outputTokens": sum(usage.output_tokens for usage in used),
        "cacheReadInputTokens": sum(usage.cache_read_tokens for usage in used),
        "cacheCreationInputTokens": sum(usage.cache_write_tokens for usage in used),
    }
