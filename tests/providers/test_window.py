"""A conversation that outgrows its model's window goes on, with a summary in the place of its oldest turns."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from corral.providers import catalog
from corral.providers.catalog import Model
from corral.providers.conversation import Conversation
from corral.providers.entries import Answer, Call, Entry, Prompt, Result, Stop, Summary, Turn
from corral.providers.window import Window
from corral.wire.runs import RunStatus
from tests.providers.test_answers import PATHS
from tests.providers.world import World

#: Nine turns of some 300 tokens each, and a last word.
LONG = '%repeat 9\n%words 150\n%tool note {"text": "' + "x" * 600 + '"}\n%end\n%say done after {{turn}}'


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Model:
    """All models have small windows."""
    model = Model(window=4000, most=1000)
    monkeypatch.setattr(catalog, "find", lambda _name: model)
    return model


@pytest.mark.usefixtures("small")
async def test_a_long_run_goes_on_with_a_summary(world: World, provider: str) -> None:
    await world.start()
    run = await world.done(LONG, provider)
    assert await world.text(run) == "done after 10"
    assert world.own.done.total() == 9  # nothing was done twice
    compacted = await world.told(run, "session.compacted")
    assert len(compacted) >= 2
    assert "summed up" in compacted[0]["message"]
    assert "scripted model sums it up" in compacted[0]["summary"]
    turns = world.served(kind="turn")
    assert [one.turn for one in turns] == list(range(10))
    assert all(sum(one.usage.__getattribute__(f) for f in CLASSES) < 4000 for one in turns)
    spent = await world.spent(run)
    assert spent.output_tokens == sum(one.usage.output_tokens for one in world.served())  # the summaries' as well
    last = json.dumps(world.requests(PATHS[provider])[-1])
    assert "earlier answers outgrew your context window and are summed up here" in last
    assert "%repeat 9" in last  # what it was asked stays, word for word


CLASSES = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


@pytest.mark.usefixtures("small")
async def test_a_summary_outlives_the_process(world: World) -> None:
    engine = await world.start()
    world.crash_at("session.compacted", after=True)
    run = await world.ask(LONG)
    await world.crashed(engine)
    assert any(isinstance(one.entry, Summary) for one in await world.kept(run))
    await world.start()
    assert await world.text(await world.until(run)) == "done after 10"
    assert world.own.done.total() == 9


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("anthropic", "prompt is too long: 9 tokens > 8 maximum"),
        ("openai", "Your input exceeds the context window of this model."),
        ("openrouter", "This endpoint's maximum context length is 8 tokens."),
    ],
)
async def test_a_window_that_is_smaller_than_thought_is_found_out(world: World, provider: str, words: str) -> None:
    await world.start()
    script = '%repeat 3\n%tool note {"text": "x"}\n%end\n' + f"%error 400 x1 {words}\n%say done {{{{turn}}}}"
    run = await world.done(script, provider)
    assert await world.text(run) == "done 4"
    [told] = await world.told(run, "session.compacted")
    assert "left out" in told["message"]
    assert world.own.done.total() == 3


async def test_a_prompt_that_alone_is_too_long_fails(world: World) -> None:
    await world.start()
    run = await world.until(await world.ask("%error 400 prompt is too long: 9 tokens > 8 maximum"))
    assert run.status == RunStatus.FAILED
    assert msgspec.json.decode(run.reason or "")["code"] == "context_too_long"


@pytest.mark.usefixtures("small")
async def test_the_results_of_one_turn_fit_the_window(world: World) -> None:
    await world.start()
    run = await world.done("%tool files__much {}\n%tool files__much {}\n%say done")
    results = await world.told(run, "agent.tool_result")
    assert all(1000 <= len(result["output"]) < 2500 for result in results)
    assert await world.told(run, "session.compacted") == []


# The conversation itself


def said(*entries: Entry) -> Conversation:
    talk = Conversation(1, "session", "run")
    talk.take(talk.next(entries))
    return talk


def answer(text: str = "a", *calls: str, seen: int = 0, context: int = 0, stop: Stop = Stop.END) -> Answer:
    made = tuple(Call(call, "note", msgspec.Raw(b"{}")) for call in calls)
    return Answer("anthropic", "m", text, made, stop, msgspec.Raw(json.dumps([text]).encode()), seen, context)


def shown(talk: Conversation) -> list[Any]:
    return [step.text if isinstance(step, Prompt) else step.answer.text for step in talk.view()]


def test_what_is_said_while_the_model_writes_comes_after_its_answer() -> None:
    talk = said(
        Prompt("go", starts=True), Prompt("wait"), answer("first", "c", seen=0), Prompt("also"), Result("c", "r")
    )
    assert shown(talk) == ["go", "first", "wait", "also"]
    [_, turn, *_] = talk.view()
    assert isinstance(turn, Turn)
    assert [result.text for result in turn.results] == ["r"]
    assert [prompt.text for prompt in talk.unheard()] == ["wait", "also"]


def test_a_summary_stands_for_what_came_before_it() -> None:
    talk = said(Prompt("go", starts=True), answer("one", seen=0), Prompt("more"), answer("two", seen=2))
    talk.take(talk.next([talk.summarised(3, "so far", 0)]))
    go, stand_in, two = shown(talk)
    assert (go, two) == ("go", "two")
    assert stand_in == "[Corral: 1 earlier answers outgrew your context window and are summed up here.]\n\nso far"
    talk.take(talk.next([Prompt("last"), answer("three", seen=5)]))
    talk.take(talk.next([talk.summarised(6, "all", 0)]))
    assert shown(talk)[0] == "go"
    assert "2 earlier answers" in shown(talk)[1]
    assert shown(talk)[2:] == ["three"]


def test_a_newer_task_takes_the_place_of_an_older_one() -> None:
    talk = said(
        Prompt("go", starts=True), answer("one", seen=0), Prompt("now this", starts=True), answer("two", seen=2),
        answer("three", seen=3),
    )  # fmt: skip
    assert talk.summarised(4, "", 0) == Summary(4, "", 1, "now this", 0)
    assert talk.turns() == 2


def test_room_is_made_from_the_oldest_and_a_turn_goes_whole() -> None:
    window = Window(Model(window=1300, most=300), "", [])
    old, new = answer("o" * 600, "c", seen=0), answer("n" * 600, "d", seen=2)
    talk = said(Prompt("go", starts=True), old, Result("c", "r" * 600), new, Result("d", "r" * 600))
    assert window.first_kept(talk) == 3
    assert window.is_full(said(Prompt("x" * 3000)))
    assert not window.is_full(said(Prompt("x" * 2000)))
    assert window.first_kept(said(Prompt("x" * 9000, starts=True), answer("y" * 9000))) is None


def test_what_the_provider_counted_is_believed() -> None:
    window = Window(Model(window=1300, most=300), "", [])
    assert not window.is_full(said(Prompt("x" * 9000), answer("y", seen=0, context=100)))
    assert window.is_full(said(Prompt("x"), answer("y", "c", seen=0, context=100), Result("c", "z" * 3000)))
    counted = said(Prompt("x"), answer("y", seen=0, context=5000))
    assert window.is_full(counted)
    counted.take(counted.next([Summary(1, "s", 0)]))
    assert not window.is_full(counted)
