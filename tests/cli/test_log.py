"""How a run's log reads."""

from __future__ import annotations

import io
from typing import Any

from corral.cli.log import Log, asked
from corral.cli.terminal import Terminal


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(*events: tuple[str, dict[str, Any]], stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    log = Log(Terminal(stream))
    for kind, payload in events:
        log.show({"event_type": kind, "payload": payload})
    log.close()
    return stream.getvalue()


def test_a_tool_call_is_one_line_and_its_result_is_folded() -> None:
    text = shown(
        ("agent.tool_call", {"name": "Bash", "input": {"command": "seq 9\necho done"}}),
        ("agent.tool_result", {"output": "\n".join("123456789")}),
    )
    assert text.splitlines() == ["› Bash seq 9 echo done", "    1", "    2", "    3", "    … 6 more lines"]


def test_what_failed_is_shown_further() -> None:
    text = shown(("agent.tool_result", {"output": "\n".join("123456"), "is_error": True}))
    assert text.split() == list("123456")


def test_the_final_text_is_whole() -> None:
    words = "\n".join(f"line {n}" for n in range(50))
    assert shown(("agent.message", {"text": words})) == words + "\n"


def test_a_streamed_text_is_not_written_twice() -> None:
    text = shown(
        ("agent.token", {"block": "a", "offset": 0, "text": "Hello"}),
        ("agent.token", {"block": "a", "offset": 5, "text": ", wor"}),
        ("agent.message", {"text": "Hello, world"}),
        ("agent.message", {"text": "Next"}),
        stream=Screen(),
    )
    assert text == "Hello, world\nNext\n"


def test_a_text_joined_in_the_middle_of_its_stream_is_written_once_and_whole() -> None:
    text = shown(
        ("agent.token", {"block": "a", "offset": 5, "text": ", wor"}),
        ("agent.message", {"text": "Hello, world"}),
        stream=Screen(),
    )
    assert text == "Hello, world\n"


def test_tokens_are_not_written_into_pipes() -> None:
    assert shown(("agent.token", {"block": "a", "offset": 0, "text": "Hello"})) == ""


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    text = shown(
        ("agent.message", {"text": "a\x1b]0;owned\x07b\x9b2J"}),
        ("agent.tool_call", {"name": "Bash", "input": {"command": "echo \x1b[2Jx"}}),
    )
    assert text == "a]0;ownedb2J\n› Bash echo [2Jx\n"


def test_a_failure_says_what_to_do() -> None:
    text = shown(("run.failed", {"code": "cli_missing", "message": "No Claude Code", "hint": "Install it"}))
    assert text.splitlines() == ["failed", "  No Claude Code", "  Install it"]


def test_the_end_tells_time_and_turns() -> None:
    result = {"duration_seconds": 12.34, "turns": 3}
    assert shown(("run.result", result), ("run.completed", {"text": "done"})) == "completed · 12.3 s · 3 turns\n"


def test_an_event_type_of_a_newer_server_is_passed_over() -> None:
    assert shown(("git.committed", {"sha": "abc"})) == ""


def test_a_question_lists_its_options_by_number() -> None:
    question = {"question": "Which?", "options": [{"label": "Red"}, {"label": "Blue"}]}
    assert asked({"kind": "question", "input": {"questions": [question]}}) == ["Which?", "  1. Red", "  2. Blue"]


def test_what_goes_over_the_bus_reads_as_who_said_what() -> None:
    text = shown(
        ("bus.delegated", {"name": "Bo", "title": "Count", "task_id": "t1"}),
        ("session.waiting", {"text": "later"}),
        ("bus.progress", {"from": "Bo", "text": "half"}),
        ("bus.result", {"from": "Bo", "title": "Count", "status": "done", "text": "3 files\nall told"}),
        ("bus.refused", {"tool": "delegate_task", "code": "depth", "message": "Too deep"}),
    )
    assert text.splitlines() == [
        "→ Bo: Count  task t1",
        "waits for what it handed out",
        "← Bo: half",
        "← Bo: Count: done",
        "    3 files",
        "    all told",
        "delegate_task refused: Too deep",
    ]
