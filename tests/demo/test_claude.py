"""The real Claude Code binary in front of the scripted model: what tests of the whole system build on."""

import asyncio
import json
import os
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
        "%words 50\n%usage in=7 out=1000 read=20000 write=300\n%stop max_tokens\n"
        "%say rest",  # what the CLI says to go on does not end the script
        "--include-partial-messages",
    )
    assert [block["thinking"] for block in told.blocks("thinking")] == ["I should look."]
    assert told.texts()[:2] == ["I'll look.", "Got: one\ntwo"]
    assert [block["name"] for block in told.blocks("tool_use")] == ["Bash", "Bash", "Write"]
    assert (claude.cwd / "note.txt").read_text() == "Hello 2"
    retries = [message for message in told.messages if message.get("subtype") == "api_retry"]
    assert [retry["error_status"] for retry in retries] == [529, 529]
    assert any(message["type"] == "stream_event" for message in told.messages)
    assert told.result["result"] == "rest"
    assert _billed(told) == _served(scripted)


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


async def test_a_run_killed_during_a_tool_goes_on_if_the_script_is_kept_and_so_does_a_session_after_a_stall(
    claude: Claude, scripted: ModelServer
) -> None:
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

    process = await claude.start("%say some\n%stall", "--resume", session)
    await until(
        lambda: scripted.ledger.served[-1].status == "open" and scripted.ledger.served[-1].usage.output_tokens > 0
    )
    process.kill()
    await process.wait()
    await until(lambda: scripted.ledger.served[-1].status == "cut")
    again = await claude.run("%say I was told {{user}}", "--resume", session)
    assert (again.session, again.result["result"]) == (session, "I was told What happened?")


async def test_a_newcomers_prompt_gets_a_believable_run(claude: Claude) -> None:
    told = await claude.run("Please write a hello.py")
    assert "scripted" in told.texts()[0]
    assert [block["name"] for block in told.blocks("tool_use")] == ["Bash", "Write"]
    assert (claude.cwd / "hello.py").read_text().startswith("# Written by")
    assert "wrote `hello.py`" in told.result["result"]


async def test_a_newcomers_plan_is_put_before_the_person(claude: Claude, monkeypatch: pytest.MonkeyPatch) -> None:
    from claude_agent_sdk import AssistantMessage, ClaudeAgentOptions, ClaudeSDKClient, PermissionResultAllow, TextBlock

    asked: list[tuple[str, dict[str, Any]]] = []

    async def allow(tool: str, given: dict[str, Any], context: object) -> PermissionResultAllow:
        asked.append((tool, given))
        return PermissionResultAllow()

    for name in set(os.environ) - {"PATH"}:  # the SDK hands all of it on
        monkeypatch.delenv(name)
    options = ClaudeAgentOptions(
        cli_path=claude.binary, cwd=claude.cwd, env=claude.env, permission_mode="plan", can_use_tool=allow
    )
    texts: list[str] = []
    async with asyncio.timeout(PATIENCE), ClaudeSDKClient(options) as client:
        await client.query("Add a feature")
        async for message in client.receive_response():
            blocks = message.content if isinstance(message, AssistantMessage) else ()
            texts += [block.text for block in blocks if isinstance(block, TextBlock)]
    [(tool, given)] = asked
    assert tool == "ExitPlanMode"
    assert given["plan"].startswith("# Plan\n\nAsked: Add a feature")
    assert "approved" in texts[-1]


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
