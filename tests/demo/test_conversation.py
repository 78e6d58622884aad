"""Which script is in force, and which turn of it: all from the request's messages."""

from typing import Any

import msgspec
import pytest

from corral.demo import choose
from corral.demo.anthropic import request
from corral.demo.conversation import Conversation
from corral.demo.turns import Call, Say, Think, Turn
from corral.runs.resuming import GO_ON, INTERRUPTED, PAUSED


def talk(*messages: tuple[str, Any], tools: tuple[str, ...] = ("Bash", "Write"), system: str = "") -> Conversation:
    """A conversation as Claude Code would send it."""
    body = {
        "model": "m",
        "max_tokens": 10,
        "system": system,
        "messages": [{"role": role, "content": content} for role, content in messages],
        "tools": [{"name": name} for name in tools],
    }
    return request.conversation(request.decode(msgspec.json.encode(body)), "session")


def called(*ids: str) -> tuple[str, Any]:
    return "assistant", [{"type": "tool_use", "id": name, "name": "Bash", "input": {}} for name in ids]


def answered(**results: str) -> tuple[str, Any]:
    return "user", [{"type": "tool_result", "tool_use_id": name, "content": text} for name, text in results.items()]


def test_the_turn_is_the_number_of_answers_after_the_script() -> None:
    first = ("user", "%bash ls\n%say {{result}}")
    assert choose.next_turn(talk(first)) == Turn((Call("Bash", {"command": "ls"}),))
    later = talk(first, called("a"), answered(a="found"))
    assert (later.turn, later.fill("got {{result}}")) == (1, "got found")
    assert choose.next_turn(later) == Turn((Say("{{result}}"),))


def test_a_script_at_its_end_says_so() -> None:
    assert choose.next_turn(talk(("user", "%bash ls"), called("a"), answered(a=""))) == Turn((Say("Done."),))


def test_a_turn_whose_tool_calls_were_cut_off_is_given_again() -> None:
    first = ("user", "%keep\n%bash ls\n%say done")
    cut = answered(a="[Tool call interrupted: the session ended before this call's result was recorded, so …]")
    again = [first, called("a"), cut, ("user", "Continue where you left off.")]
    assert choose.next_turn(talk(*again)) == Turn((Call("Bash", {"command": "ls"}),))
    assert choose.next_turn(talk(*again, called("b"), answered(b="found"))) == Turn((Say("done"),))


@pytest.mark.parametrize("told", [INTERRUPTED, PAUSED, GO_ON])
def test_a_script_goes_on_after_what_corral_says_to_a_run_that_goes_on(told: str) -> None:
    later = talk(("user", "%bash ls\n%say done"), called("a"), answered(a="found"), ("user", told))
    assert choose.next_turn(later) == Turn((Say("done"),))


def test_a_follow_up_starts_a_script_of_its_own() -> None:
    followed = talk(("user", "%say one"), ("assistant", "one"), ("user", "%say two"))
    assert (followed.prompt, followed.turn) == ("%say two", 0)


def test_a_plain_follow_up_gets_the_default_answer() -> None:
    followed = talk(("user", "%say one"), ("assistant", "one"), ("user", "What now?"))
    assert (followed.prompt, followed.turn) == ("What now?", 0)


def test_a_script_that_keeps_goes_on_after_plain_words() -> None:
    followed = talk(("user", "%keep\n%say one\n%next\n%say two"), ("assistant", "one"), ("user", "What now?"))
    assert choose.next_turn(followed) == Turn((Say("two"),))


def test_words_of_the_client_are_not_a_persons() -> None:
    reminder = "<system-reminder>\n%say no\n</system-reminder>"
    asked = talk(("user", [{"type": "text", "text": reminder}, {"type": "text", "text": "Hello\n%say yes"}]))
    assert (asked.prompt, asked.newest) == ("Hello\n%say yes", "Hello")
    nudged = talk(
        ("user", "%say half\n%stop max_tokens\n%say rest"),
        ("assistant", "half"),
        ("user", "Output token limit hit. Resume directly."),
    )
    assert choose.next_turn(nudged) == Turn((Say("rest"),))


def test_a_live_message_is_heard_and_ends_nothing() -> None:
    note = "The user sent a new message while you were working:\nhurry up\n\nThis is how Claude Code surfaces messages"
    first, call, result = ("user", "%bash ls\n%say {{user}}"), called("a"), answered(a="")
    for live in (("system", note), ("user", f"<system-reminder>{note}</system-reminder>")):
        heard = talk(first, call, result, live)
        assert (heard.prompt, heard.turn, heard.newest) == (first[1], 1, "hurry up")


def test_a_live_message_joined_to_a_tool_result_ends_nothing() -> None:
    joined = answered(a="x")[1] + [{"type": "text", "text": "hurry up"}]
    heard = talk(("user", "%bash ls\n%say {{user}}"), called("a"), ("user", joined))
    assert (heard.turn, heard.newest) == (1, "hurry up")


def test_a_live_message_with_a_script_starts_it() -> None:
    note = "The user sent a new message while you were working:\n%say new\n\nThis is how Claude Code surfaces messages"
    heard = talk(("user", "%bash ls\n%say old"), called("a"), answered(a=""), ("system", note))
    assert choose.next_turn(heard) == Turn((Say("new"),))


def test_results_come_in_the_order_of_the_calls() -> None:
    both = talk(("user", "%bash a\n%bash b"), called("first", "second"), answered(second="2", first="1"))
    assert [result.text for result in both.results] == ["1", "2"]


def test_the_key_is_the_same_for_all_attempts_and_turns_and_for_nothing_else() -> None:
    first = talk(("user", "%bash ls\n%say x"))
    assert first.key == talk(("user", "%bash ls\n%say x"), called("a"), answered(a="")).key
    assert first.key != talk(("user", "%bash ls\n%say y")).key
    again = talk(("user", "%bash ls\n%say x"), ("assistant", "x"), ("user", "%bash ls\n%say x"))
    assert first.key != again.key


def test_the_working_directory_is_what_the_client_told() -> None:
    told = talk(("user", "%say x"), ("system", "# Environment\n - Primary working directory: /some/where\n - More"))
    assert told.cwd == "/some/where"
    assert talk(("user", "%say x")).cwd == "."


def test_three_braces_are_for_a_sub_agent() -> None:
    assert talk(("user", "Hi\n%say x")).fill("{{user}} {{{user}}} {{other}}") == "Hi {{user}} {{other}}"


def test_a_newcomer_is_told_that_the_model_is_scripted() -> None:
    steps = choose.next_turn(talk(("user", "Please write notes.md"))).steps
    assert isinstance(steps[0], Think)
    assert isinstance(steps[1], Say)
    assert "scripted" in steps[1].text
    written = choose.next_turn(talk(("user", "Please write notes.md"), called("a"), answered(a="")))
    assert isinstance(written.steps[-1], Call)
    assert written.steps[-1].input["file_path"] == "./notes.md"


def test_a_newcomer_without_tools_gets_words() -> None:
    assert all(isinstance(step, Say) for step in choose.next_turn(talk(("user", "Please write x.md"), tools=())).steps)


def test_a_newcomer_in_plan_mode_gets_a_plan() -> None:
    mode = "Plan mode is active. You should create your plan at /home/me/.claude/plans/a-b.md using the Write tool."
    first, call, result = ("user", "Add a feature"), called("a"), answered(a="")
    planned = choose.next_turn(talk(first, ("system", mode), call, result)).steps[-1]
    assert isinstance(planned, Call)
    assert planned.input["file_path"] == "/home/me/.claude/plans/a-b.md"
