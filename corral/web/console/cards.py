"""Approvals as cards: the exact thing that is asked, and words for its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from corral.runs.models import Approval, Run
from corral.web.console.run_views import agent_name, one_line, short, title
from corral.wire.events import ApprovalKind

_OUTCOMES = {
    "allowed": "Allowed",
    "denied": "Denied",
    "expired": "Expired, so denied",
    "withdrawn": "No longer asked",
}
_CONTEXT = 2  #: equal lines shown on both sides of a change


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a change; `sign` is the class that colours it."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Option:
    """One of the answers an agent offers."""

    label: str
    description: str


@dataclass(frozen=True, slots=True)
class Question:
    """What an agent wants to know."""

    index: int
    text: str
    many: bool  #: whether several options may be chosen
    options: list[Option]


@dataclass(frozen=True, slots=True)
class Card:
    """One approval, complete: a person needs to open nothing else to decide."""

    id: str
    kind: str
    title: str
    line: str  #: all of it in one line
    text: str | None  #: the exact command, plan or input
    diff: list[Line] | None  #: instead of the text, for an edit
    note: str | None
    description: str | None
    questions: list[Question]
    runner: str
    cwd: str
    run_id: str
    run_short: str
    run_title: str
    task_id: str | None
    created_at: int
    expires_at: int
    pending: bool
    status: str
    outcome: str
    by: str | None
    reason: str | None
    answered_at: int | None
    allow: str
    deny: str
    deny_now: str


@dataclass(slots=True)
class _Asked:
    """What a card says about the action itself."""

    title: str
    text: str | None = None
    diff: list[Line] | None = None
    note: str | None = None
    questions: list[Question] = field(default_factory=list)
    allow: str = "Allow once"
    deny: str = "Deny…"
    deny_now: str = "Deny"


def card(approval: Approval, *, run: Run | None = None, people: Mapping[str, str] | None = None) -> Card:
    """Return the card of an approval of this run; `people` names who answered."""
    asked = _asked(approval, (agent_name(run.agent) if run else None) or "Claude")
    by = approval.answered_by
    return Card(
        id=approval.id,
        kind=approval.kind,
        title=asked.title,
        line=one_line(approval) or asked.title,
        text=asked.text,
        diff=asked.diff,
        note=asked.note,
        description=_description(approval),
        questions=asked.questions,
        runner=approval.runner_name,
        cwd=approval.cwd,
        run_id=approval.run_id,
        run_short=short(approval.run_id),
        run_title=title(run.prompt) if run else "",
        task_id=run.task_id if run else None,
        created_at=approval.created_at,
        expires_at=approval.expires_at,
        pending=approval.status == "pending",
        status=approval.status,
        outcome=_outcome(approval),
        by=(people or {}).get(by, "an API key" if by.startswith("key:") else by) if by else None,
        reason=approval.reason,
        answered_at=approval.answered_at,
        allow=asked.allow,
        deny=asked.deny,
        deny_now=asked.deny_now,
    )


def answers(questions: list[Question], form: Mapping[str, str | list[str]]) -> dict[str, str]:
    """Return the answers a posted card holds, by question: own words if there are any, else what was chosen."""
    found = {}
    for question in questions:
        own = form.get(f"q{question.index}_own", "")
        chosen = form.get(f"q{question.index}", [])
        words = own if isinstance(own, str) else own[0]
        picked = [chosen] if isinstance(chosen, str) else list(chosen)
        if words.strip():
            picked = [*picked, words.strip()] if question.many else [words.strip()]
        if picked:
            found[question.text] = ", ".join(picked)
    return found


def changes(before: str, after: str) -> list[Line]:
    """Return an edit as lines: what both ends share is context, what lies between was replaced."""
    old, new = before.splitlines(), after.splitlines()
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    end = len(old) - tail
    return [
        *(Line("faint", f" {text}") for text in old[max(0, head - _CONTEXT) : head]),
        *(Line("del", f"-{text}") for text in old[head:end]),
        *(Line("add", f"+{text}") for text in new[head : len(new) - tail]),
        *(Line("faint", f" {text}") for text in old[end : end + _CONTEXT]),
    ]


def _asked(approval: Approval, who: str) -> _Asked:
    given = _object(approval.input)
    if approval.kind == ApprovalKind.QUESTION:
        return _question(given, who)
    if approval.kind == ApprovalKind.PLAN:
        return _Asked(
            f"{who} has a plan and would like to begin",
            text=str(given.get("plan") or _plain(given)),
            allow="Approve the plan",
            deny="Ask for changes…",
            deny_now="Send it back",
        )
    return _tool(approval.tool, given, approval.runner_name, who)


def _question(given: Mapping[str, Any], who: str) -> _Asked:
    listed = given.get("questions")
    questions = [
        Question(
            index,
            str(question.get("question") or question.get("header") or "Question"),
            bool(question.get("multiSelect")),
            [_option(option) for option in question.get("options") or []],
        )
        for index, question in enumerate(listed if isinstance(listed, list) else [])
        if isinstance(question, dict)
    ]
    says = f"{who} asks a question" if len(questions) == 1 else f"{who} asks {len(questions)} questions"
    text = None if questions else _plain(given)
    return _Asked(says, text=text, questions=questions, allow="Answer", deny="Don’t answer…", deny_now="Don’t answer")


def _outcome(approval: Approval) -> str:
    if approval.kind == ApprovalKind.QUESTION and approval.status == "allowed":
        return "Answered"
    return _OUTCOMES.get(approval.status, approval.status)


def _option(option: object) -> Option:
    if isinstance(option, dict):
        return Option(str(option.get("label", "")), str(option.get("description") or ""))
    return Option(str(option), "")


def _tool(tool: str, given: Mapping[str, Any], runner: str, who: str) -> _Asked:
    on = f" on {runner}" if runner else ""
    match tool, given:
        case "Bash", {"command": str(command)}:
            return _Asked(f"{who} wants to run a command{on}", text=command)
        case "Edit", {"file_path": str(path), "old_string": str(old), "new_string": str(new)}:
            return _Asked(f"{who} wants to change a file{on}", diff=changes(old, new), note=path)
        case "MultiEdit", {"file_path": str(path), "edits": list(edits)}:
            lines = [line for edit in edits for line in changes(edit.get("old_string", ""), edit.get("new_string", ""))]
            return _Asked(f"{who} wants to change a file{on}", diff=lines, note=path)
        case "Write", {"file_path": str(path), "content": str(content)}:
            return _Asked(f"{who} wants to write a file{on}", diff=changes("", content), note=path)
        case "WebFetch", {"url": str(url)}:
            return _Asked(f"{who} wants to fetch a page{on}", text=url, note=given.get("prompt"))
        case "WebSearch", {"query": str(query)}:
            return _Asked(f"{who} wants to search the web{on}", text=query)
        case _:
            name = " of ".join(reversed(tool.removeprefix("mcp__").split("__", 1)))
            return _Asked(f"{who} wants to use {name}{on}", text=_plain(given))


def _description(approval: Approval) -> str | None:
    """Return what the agent says the action is for, where it says so."""
    if approval.kind != ApprovalKind.TOOL:
        return None
    said = _object(approval.input).get("description")
    return said if isinstance(said, str) and approval.tool == "Bash" else None


def _object(text: str) -> Mapping[str, Any]:
    value = msgspec.json.decode(text)
    return value if isinstance(value, dict) else {"input": value}


def _plain(value: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{name}: {inner if isinstance(inner, str) else msgspec.json.encode(inner).decode()}"
        for name, inner in value.items()
    )
