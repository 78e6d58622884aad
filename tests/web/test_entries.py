"""The mapping of CONTRACT §1: an event's type and payload to AgentFleet's kind and plain text."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from corral.web.present.entries import kind, message
from corral.wire.events import EventType
from corral.wire.words import tool_call

TABLE = {
    "run.created": "system",
    "run.started": "system",
    "run.paused": "system",
    "run.result": "system",
    "session.init": "system",
    "session.retry": "system",
    "agent.subagent_start": "system",
    "agent.subagent_stop": "system",
    "git.commit": "system",
    "bus.message": "system",
    "agent.message": "assistant",
    "agent.thinking": "thinking",
    "agent.tool_call": "tool_use",
    "agent.tool_result": "tool_result",
    "agent.needs_attention": "attention",
    "permission.requested": "attention",
    "permission.resolved": "attention",
    "user.message": "user",
    "run.completed": "result",
    "run.failed": "error",
    "run.cancelled": "error",
}


@pytest.mark.parametrize(("event_type", "expected"), TABLE.items())
def test_each_type_of_event_has_its_kind(event_type: str, expected: str) -> None:
    assert kind(event_type) == expected


@pytest.mark.parametrize(
    ("event_type", "payload", "text"),
    [
        ("session.init", {"session_id": "x"}, "session started"),
        ("agent.message", {"text": "Adding the route…"}, "Adding the route…"),
        (
            "agent.tool_call",
            {"name": "Edit", "input": {"file_path": "src/app.ts", "old_string": "a"}},
            "Edit src/app.ts",
        ),
        (
            "agent.tool_call",
            {"name": "Bash", "input": {"description": "Run", "command": "npm\n test"}},
            "Bash npm test",
        ),
        ("agent.tool_call", {"name": "Stop", "input": {}}, "Stop"),
        (
            "agent.tool_call",
            {"name": "mcp__corral__delegate_task", "input": {"to": "Bo", "title": "List", "input": "ls", "wait": True}},
            "delegate_task Bo: List",
        ),
        (
            "agent.tool_call",
            {"name": "ask_human", "input": {"options": ["a"], "question": "Which?"}},
            "ask_human Which?",
        ),
        ("agent.tool_call", {"name": "mcp__corral__list_agents", "input": {}}, "list_agents"),
        ("agent.tool_call", {"name": "mcp__slack__send_message", "input": {"to": "x"}}, "mcp__slack__send_message x"),
        ("agent.tool_result", {"output": "ok"}, "ok"),
        ("agent.tool_result", {"output": [{"type": "text", "text": "a"}, {"type": "image"}]}, "a\n[image]"),
        ("agent.tool_result", {"output": None}, "agent.tool_result"),
        ("permission.requested", {"description": "Bash npm test"}, "asks for permission: Bash npm test"),
        ("permission.resolved", {"decision": "deny", "reason": "no"}, "denied: no"),
        ("permission.resolved", {"decision": "allow", "reason": None}, "allowed"),
        ("permission.requested", {"kind": "question", "description": "Which?"}, "asks: Which?"),
        ("session.waiting", {"text": "I wait"}, "waits to be told more"),
        ("bus.delegated", {"task_id": "1", "to": "2", "name": "Bob", "title": "Help"}, "handed to Bob: Help"),
        ("bus.result", {"from": "Bob", "status": "done", "text": "42"}, "Bob is back: 42"),
        ("bus.progress", {"from": "Bob", "text": "half"}, "Bob reports: half"),
        ("bus.message", {"type": "note", "from": "user:1", "text": "Hi"}, "note from user:1: Hi"),
        ("bus.refused", {"tool": "delegate_task", "message": "Too deep"}, "refused delegate_task: Too deep"),
        ("user.message", {"text": "and now"}, "and now"),
        ("run.completed", {"text": "done"}, "done"),
        ("run.completed", {"text": ""}, "done"),
        ("run.failed", {"code": "timeout", "message": "It took too long"}, "It took too long"),
        ("run.cancelled", {}, "cancelled"),
        ("run.paused", {"code": "paused", "message": "Paused by a person"}, "Paused by a person"),
        ("run.paused", {}, "paused"),
    ],
)
def test_an_event_reads_as_plain_text(event_type: str, payload: dict[str, Any], text: str) -> None:
    assert message(event_type, msgspec.json.encode(payload).decode()) == text


@pytest.mark.parametrize("event_type", list(EventType))
@pytest.mark.parametrize("payload", ["{}", '{"text": 7, "message": null, "input": [], "name": {}, "output": 3}'])
def test_no_payload_is_too_strange_to_be_read(event_type: str, payload: str) -> None:
    assert isinstance(message(event_type, payload), str)


def test_a_call_without_arguments_that_are_text_is_its_name() -> None:
    assert tool_call("Task", None) == "Task"
    assert tool_call("Task", {"n": 1}) == "Task"
    assert tool_call("Fetch", {"n": 1, "what": "that"}) == "Fetch that"
