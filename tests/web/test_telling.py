"""The mapping of CONTRACT §1: a log in Fleetrun's words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from corral.runs.frames import Logged
from corral.web.present.telling import Teller
from corral.wire.events import EventType

TABLE = {
    "agent.message": "output",
    "agent.thinking": "thinking",
    "agent.tool_call": "tool_call",
    "agent.tool_result": "tool_result",
    "agent.needs_attention": "tool_call",
    "permission.requested": "tool_call",
    "permission.resolved": "tool_call",
    "permission.withdrawn": "tool_call",
    "run.completed": "output",
    "run.failed": "error",
    "run.cancelled": "error",
}


def told(*events: tuple[str, dict[str, Any]]) -> list[tuple[str, str]]:
    teller = Teller()
    logged = [
        Logged(n, 1, type_, msgspec.json.encode(payload).decode(), 0) for n, (type_, payload) in enumerate(events)
    ]
    return [(one.type, one.text) for event in logged if (one := teller.tell(event))]


@pytest.mark.parametrize("event_type", [*EventType, "git.commit"])
def test_each_type_of_event_is_told_as_the_contract_has_it_or_not_at_all(event_type: str) -> None:
    assert [type_ for type_, _ in told((event_type, {"text": "words"}))] == [
        type_ for name, type_ in TABLE.items() if name == event_type
    ]


def test_the_final_text_is_told_only_if_it_was_not_before() -> None:
    said = ("agent.message", {"text": "All done.\n"})
    assert told(said, ("run.completed", {"text": "All done."})) == [("output", "All done.\n")]
    assert told(said, ("run.completed", {"text": "Other words"}))[1:] == [("output", "Other words")]
    assert told(("run.completed", {"text": ""})) == []
    assert told(("run.completed", {})) == []


def test_a_question_is_told_in_its_own_words() -> None:
    asked = {"kind": "question", "tool": "ask_human", "description": "Which one?", "input": {}}
    assert told(("permission.requested", asked)) == [("tool_call", "Which one?")]
    call = {"kind": "tool", "tool": "Bash", "input": {"command": "ls"}}
    assert told(("permission.requested", call)) == [("tool_call", "Bash ls")]


def test_an_end_says_why() -> None:
    assert told(("run.failed", {"code": "timeout", "message": "Too long"})) == [("error", "Too long")]
    assert told(("run.cancelled", {})) == [("error", "cancelled")]
