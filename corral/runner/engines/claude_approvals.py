"""What Claude Code asks before it acts, and what people answer. A question waits for as long as it takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec

from corral.runner.engines.claude_events import Translator, clean, emit, encode
from corral.runner.engines.claude_sdk import (
    PermissionResult,
    PermissionResultAllow,
    PermissionResultDeny,
    ToolPermissionContext,
)
from corral.runner.engines.protocol import Emit
from corral.runner.engines.stdio import log
from corral.wire.events import ApprovalKind, ApprovalRequest, EventType
from corral.wire.runner import Approve

_KINDS = {"ExitPlanMode": ApprovalKind.PLAN, "AskUserQuestion": ApprovalKind.QUESTION}
#: Claude Code would run these in plan mode if we allowed them; its plan file it writes without asking.
_WRITES = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit", "Bash"})
_PLAN_FIRST = (
    "Plan mode: nothing may be changed yet. Finish the plan and call ExitPlanMode, so that a person can accept it."
)
#: The input that tells a person most, by what tools call it.
_TELLING = ("command", "file_path", "notebook_path", "path", "url", "query", "pattern", "prompt", "description")
_LINE_CHARACTERS = 200


class Approvals:
    """The open questions of one attempt."""

    def __init__(self, cwd: str, translator: Translator, send: Callable[[Emit], None]) -> None:
        """Take where the agent works, what knows its mode and plans, and where events go."""
        self.keep = False  #: the runner goes away: a question that ends now is still open for the next attempt
        self._cwd = cwd
        self._translator = translator
        self._send = send
        self._open: dict[str, asyncio.Future[Approve]] = {}
        self._count = 0

    async def ask(self, tool: str, given: dict[str, Any], context: ToolPermissionContext) -> PermissionResult:
        """Answer the SDK's `can_use_tool`: put it to people and wait. Cancelled when the CLI takes it back."""
        if self._translator.permission_mode == "plan" and tool in _WRITES:
            return PermissionResultDeny(message=_PLAN_FIRST)
        request = self._request(tool, given, context)
        answer: asyncio.Future[Approve] = asyncio.get_running_loop().create_future()
        self._open[request.request_id] = answer
        self._send(emit(EventType.AGENT_NEEDS_ATTENTION, message=f"Claude Code asks: {request.description}"))
        self._send(Emit(EventType.PERMISSION_REQUESTED, msgspec.Raw(msgspec.json.encode(request))))
        try:
            return _result(request, given, await answer)
        except asyncio.CancelledError:
            if not self.keep:
                self._send(emit(EventType.PERMISSION_WITHDRAWN, request_id=request.request_id))
            raise
        finally:
            del self._open[request.request_id]

    def answer(self, approve: Approve) -> None:
        """Hand a person's answer to the question it names; one that is no longer open is only logged."""
        waiting = self._open.get(approve.request_id)
        if waiting is None or waiting.done():
            log(f"Nothing waits for an answer to {approve.request_id}")
            return
        waiting.set_result(approve)

    def _request(self, tool: str, given: dict[str, Any], context: ToolPermissionContext) -> ApprovalRequest:
        self._count += 1
        shown = given
        if (
            tool == "ExitPlanMode"
            and "plan" not in given
            and (plan := self._translator.plans.get(context.tool_use_id or ""))
        ):
            shown = {**given, "plan": plan}
        return ApprovalRequest(
            request_id=f"ask-{self._count}",
            kind=_KINDS.get(tool, ApprovalKind.TOOL),
            tool=tool,
            input=encode(shown),
            cwd=self._cwd,
            tool_use_id=context.tool_use_id,
            description=describe(tool, shown, self._translator.redactor.text),
        )


def describe(tool: str, given: dict[str, Any], mask: Callable[[str], str] = str) -> str:
    """Return one line for people: the tool and what it is about, in the tool's own words and not in the model's.

    It is masked before it is cut: half of a secret is not found any more.
    """
    if tool == "ExitPlanMode":
        about = str(given.get("plan") or "")
    elif tool == "AskUserQuestion":
        about = " · ".join(str(question.get("question")) for question in given.get("questions") or [])
    else:
        about = next((str(given[name]) for name in _TELLING if given.get(name)), "")
        about = about or (json.dumps(given, ensure_ascii=False) if given else "")
    line = clean(" ".join(f"{tool} {mask(about)}".split()))
    return line if len(line) <= _LINE_CHARACTERS else line[: _LINE_CHARACTERS - 1] + "…"


def _result(request: ApprovalRequest, given: dict[str, Any], answer: Approve) -> PermissionResult:
    if answer.decision != "allow":
        return PermissionResultDeny(message=answer.reason or "A person denied this.")
    if request.kind is ApprovalKind.QUESTION:
        return PermissionResultAllow(updated_input={**given, "answers": answer.answers or {}})
    return PermissionResultAllow()
