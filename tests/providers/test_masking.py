"""What a provider agent is given in secret is in no event, no streamed text and no conversation."""

from __future__ import annotations

import json

import pytest

from corral import bus
from corral.platform import database
from corral.providers.entries import Prompt
from corral.runs.hints import log_topic
from corral.runs.models import Run
from tests.base.test_redactor import TOKEN, WRITTEN
from tests.providers.world import World

PATHS = ("/v1/messages", "/v1/responses", "/api/v1/chat/completions")


async def stored(run: Run) -> str:
    """What is kept of a run, beside what its launch said."""
    events = await database.fetch("SELECT payload FROM events WHERE run_no = $1 AND type <> 'run.created'", run.no)
    entries = await database.fetch("SELECT entry FROM conversation WHERE run_id = $1", run.id)
    return "\n".join([*(row["payload"] for row in events), *(row["entry"] for row in entries)])


@pytest.mark.parametrize("way", ["as it is", "base64 after one byte", "hex", "percents"])
async def test_a_tools_answer_is_masked_before_it_is_stored_and_before_the_model_reads_it(
    world: World, provider: str, way: str
) -> None:
    world.secrets["TOKEN"] = TOKEN
    await world.start()
    run = await world.ask("%tool ask {}\n%say It is {{result}}", provider)
    world.own.answers.put_nowait(f"here: {WRITTEN[way](TOKEN)}")
    run = await world.until(run)
    assert "[redacted:TOKEN]" in await world.text(run)
    asked = [str(request) for path in PATHS for request in world.requests(path)]
    assert len(asked) == 2
    for text in (await stored(run), *asked):
        assert WRITTEN[way](TOKEN).strip("=")[2:-2] not in text


async def test_streamed_text_is_masked_and_has_no_gaps(world: World, provider: str) -> None:
    world.secrets["SAID"] = "the-quick-brown-fox"
    await world.start()
    run = await world.ask("%tool ask {}\n%chunk 1\n%say a the-quick-{{result}}-fox jumped", provider)
    shown = ""

    def hear(hint: bytes) -> None:
        nonlocal shown
        for line in hint.splitlines():
            told = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if told.get("event_type") == "agent.token":
                assert told["payload"]["offset"] == len(shown)
                shown += told["payload"]["text"]

    bus.current().listen(log_topic(run.no), hear)
    world.own.answers.put_nowait("brown")
    run = await world.until(run)
    assert shown.strip() == await world.text(run) == "a [redacted:SAID] jumped"
    assert "quick-brown" not in await stored(run)


async def test_a_prompt_that_holds_a_secret_is_told_once_though_it_was_masked(world: World) -> None:
    world.secrets["TOKEN"] = TOKEN
    engine = await world.start()
    world.crash_at("agent.message")
    run = await world.ask(f"My token is {TOKEN}.\n%say ok")
    await world.crashed(engine)
    await world.start()
    run = await world.until(run)
    prompts = [one.entry.text for one in await world.kept(run) if isinstance(one.entry, Prompt)]
    assert prompts == ["My token is [redacted:TOKEN].\n%say ok"]
