"""The script language: text → turns."""

import pytest

from corral.demo.script import ScriptError, holds_script, parse, prose
from corral.demo.turns import ALWAYS, Call, Drop, Fail, Say, Script, Stall, Style, Think, Turn, UsageSet, Wait


def test_text_thinking_and_parallel_calls_make_one_turn() -> None:
    script = parse('Do it.\n%think hm\n%say I look.\n%tool Bash {"command": "ls"}\n%tool Read {"file_path": "a"}')
    assert script.turns == (
        Turn((Think("hm"), Say("I look."), Call("Bash", {"command": "ls"}), Call("Read", {"file_path": "a"}))),
    )
    assert script.turns[0].stop_reason == "tool_use"


def test_what_follows_calls_is_the_next_turn() -> None:
    assert parse("%bash ls\n%say done").turns == (Turn((Call("Bash", {"command": "ls"}),)), Turn((Say("done"),)))
    assert len(parse("%bash ls\n%error 529").turns) == 2


def test_next_keeps_two_calls_from_being_parallel() -> None:
    assert [len(turn.steps) for turn in parse("%bash a\n%next\n%bash b").turns] == [1, 1]


def test_a_script_fits_on_one_line() -> None:
    assert parse("go %% %say one %% %bash ls | wc %% %say two") == parse("go\n%say one\n%bash ls | wc\n%say two")
    assert parse("%stall %% %say after") == parse("%stall\n%say after")


def test_a_text_goes_on_over_lines_that_are_no_directives() -> None:
    assert parse("%say one\n\ntwo 50%off\n 100% three\n%think x").turns[0].steps[0] == Say(
        "one\n\ntwo 50%off\n 100% three"
    )


def test_an_input_may_span_lines_and_hold_directives_of_its_own() -> None:
    script = parse('%tool Agent {\n  "prompt": "%bash ls %% %say {{{result}}}",\n  "n": [1, {"a": null}]\n}\n%say done')
    assert script.turns[0].steps == (Call("Agent", {"prompt": "%bash ls %% %say {{{result}}}", "n": [1, {"a": None}]}),)
    assert script.turns[1].steps == (Say("done"),)


def test_a_call_without_input_has_an_empty_one() -> None:
    assert parse("%tool ExitPlanMode\n%say x").turns[0].steps == (Call("ExitPlanMode", {}),)


def test_repeat_multiplies_turns_and_nests() -> None:
    assert len(parse("%repeat 3\n%bash a\n%repeat 2\n%bash b\n%end\n%end\n%say x").turns) == 10


def test_end_ends_the_script() -> None:
    assert parse("%say hi\n%end\nKind regards,\n%say no").turns == (Turn((Say("hi"),)),)


def test_pace_and_chunk_hold_to_the_end() -> None:
    steps = parse("%say a\n%pace 2.5\n%say b\n%chunk 3\n%say c").turns[0].steps
    assert steps == (Say("a"), Say("b", Style(2.5)), Say("c", Style(2.5, 3)))


def test_trouble_stands_where_it_strikes() -> None:
    turn = parse("%wait 0.5\n%error 529 x2\n%say part\n%stall x1\n%drop").turns[0]
    assert turn.steps == (
        Wait(0.5),
        Fail(529, "overloaded_error", "Scripted overloaded_error", 2),
        Say("part"),
        Stall(1),
        Drop(ALWAYS),
    )


def test_an_error_takes_type_times_delay_and_message() -> None:
    fail = parse("%error 429 custom_error x1 retry-after=2 Slow down, please").turns[0].steps[0]
    assert fail == Fail(429, "custom_error", "Slow down, please", 1, 2.0)


def test_usage_and_stop_are_the_turns_own() -> None:
    first, second = parse("%say a\n%usage in=1 out=2 read=3 write=4 write1h=4\n%stop max_tokens\n%say b").turns
    assert (first.usage, first.stop_reason) == (UsageSet(1, 2, 3, 4, 4), "max_tokens")
    assert (second.usage, second.stop_reason) == (UsageSet(), "end_turn")


def test_long_texts_have_the_asked_size() -> None:
    words, lines = parse("%words 30\n%lines 4").turns[0].steps
    assert isinstance(words, Say)
    assert isinstance(lines, Say)
    assert (len(words.text.split()), len(lines.text.splitlines())) == (30, 4)


def test_keep_is_the_scripts_own() -> None:
    assert parse("%keep\n%say x") == Script((Turn((Say("x"),)),), keep=True)


@pytest.mark.parametrize("text", ["", "50 %say", "100%say", "%%say", "%sayings are fine", "see %d and %s\n%x"])
def test_a_text_without_directives_is_no_script(text: str) -> None:
    assert not holds_script(text)


def test_prose_is_what_stands_before_the_script() -> None:
    assert prose("Please\n  help.\n%say x") == "Please\n  help."
    assert prose("Only words %d") == "Only words %d"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("%say a\n%sya b", "%sya there is no such directive"),
        ("%say", "%say takes a text"),
        ("%tool", "%tool takes a tool's name"),
        ("%tool Bash ls", "%tool takes a JSON object"),
        ("%tool Bash {nope}", "%tool has an input that is not JSON"),
        ('%tool Bash {"a": 1} b', "%tool has something after its input"),
        ("%repeat 3\n%say x", "%repeat its %end is missing"),
        ("%repeat 10000\n%bash a\n%next\n%bash b\n%end", "%end makes more than"),
        ("%repeat\n%end", "%repeat takes a whole number"),
        ("%error 200", "%error takes a status"),
        ("%stall 2", "%stall takes nothing or"),
        ("%pace fast", "%pace takes a number"),
        ("%usage total=3", "%usage takes counts"),
        ("%stop now!", "%stop takes a stop reason"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(text: str, why: str) -> None:
    with pytest.raises(ScriptError, match=why):
        parse(text)
