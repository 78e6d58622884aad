"""A run's log for people: a line a tool call, results folded, the final text whole, the cost at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corral.cli.terminal import Terminal, clean, cut, one_line
from corral.wire.words import tool_call

_FOLDED_LINES = 3
_FAILED_LINES = 12
Payload = dict[str, Any]


class Log:
    """Writes events as they come. It never writes one twice, also when its text was streamed before."""

    def __init__(self, out: Terminal, *, on_permission: Callable[[Payload], None] | None = None) -> None:
        """Take where to write, and what to do about a request for permission after it was shown."""
        self._out = out
        self._on_permission = on_permission
        self._streamed = ""  #: what is on screen of a text whose event has not come yet
        self._result: Payload = {}

    def show(self, event: dict[str, Any]) -> None:
        """Write one event."""
        kind, payload = str(event.get("event_type")), event.get("payload") or {}
        if kind == "agent.token":
            self._token(payload)
            return
        if not payload and kind in {"agent.thinking", "agent.tool_call"}:  # of a log that was let go
            return
        shown = getattr(self, "_" + kind.replace(".", "_"), None)
        if kind != "agent.message":
            self._break()
        if shown is not None:
            shown(payload)

    def close(self) -> None:
        """End a line that was begun."""
        self._break()

    def _token(self, payload: Payload) -> None:
        if payload.get("kind", "text") != "text" or not self._out.is_terminal:
            return
        text, offset = clean(str(payload.get("text", ""))), int(payload.get("offset") or 0)
        if offset == 0:
            self._break()
        elif not self._streamed:
            return  # joined in the middle: the whole text comes with its event
        self._streamed += text
        self._out.write(text)

    def _break(self) -> None:
        if self._streamed:
            self._out.line()
            self._streamed = ""

    # One method an event type: what is not here is not shown.

    def _run_created(self, payload: Payload) -> None:
        facts = [payload.get("cwd"), payload.get("model"), payload.get("permission_mode")]
        self._out.line("prompt  " + one_line(str(payload.get("task", ""))), "bold")
        self._out.line("        " + " · ".join(one_line(str(fact)) for fact in facts if fact), "dim")

    def _run_started(self, payload: Payload) -> None:
        runner, pid = payload.get("runner"), payload.get("pid")
        self._out.line(f"started on {one_line(str(runner or 'a runner'))}" + (f", pid {pid}" if pid else ""), "dim")

    def _session_interrupted(self, payload: Payload) -> None:
        self._note("interrupted", payload)

    def _session_retry(self, payload: Payload) -> None:
        self._note("retrying", payload)

    def _session_unreachable(self, payload: Payload) -> None:
        self._note("runner unreachable", payload)

    def _session_reachable(self, payload: Payload) -> None:
        self._note("runner is back", payload)

    def _run_paused(self, payload: Payload) -> None:
        self._note("paused", payload)

    def _agent_message(self, payload: Payload) -> None:
        text, streamed = clean(str(payload.get("text", ""))).rstrip("\n"), self._streamed
        if streamed and text.startswith(streamed.rstrip("\n")):
            self._out.write(text[len(streamed) :])
            self._break()
        else:
            self._break()
            self._out.line(text)

    def _agent_thinking(self, payload: Payload) -> None:
        self._out.line("thinking: " + self._cut(one_line(str(payload.get("text", ""))), 10), "dim")

    def _agent_tool_call(self, payload: Payload) -> None:
        indent = "  " if payload.get("parent_tool_use_id") else ""
        self._out.line(
            indent + "› " + self._cut(one_line(tool_call(str(payload.get("name") or "tool"), payload.get("input"))), 4),
            "cyan",
        )

    def _agent_tool_result(self, payload: Payload) -> None:
        failed = bool(payload.get("is_error"))
        self._folded(
            _text(payload.get("output")), _FAILED_LINES if failed else _FOLDED_LINES, "red" if failed else "dim"
        )

    def _agent_subagent_start(self, payload: Payload) -> None:
        name = payload.get("name") or "sub-agent"
        self._out.line(f"› {one_line(str(name))}: {one_line(str(payload.get('description', '')))}", "cyan")

    def _agent_needs_attention(self, payload: Payload) -> None:
        self._note("needs attention", payload)

    def _permission_requested(self, payload: Payload) -> None:
        what = wants(payload)
        kind = {"plan": "approve this plan?", "question": "asks"}.get(str(payload.get("kind")), "wants to run")
        self._out.line(f"? {kind}  {what}", "yellow")
        if payload.get("cwd"):
            self._out.line(f"  in {one_line(str(payload['cwd']))}", "dim")
        for line in asked(payload):
            self._out.line("  " + line)
        if self._on_permission is not None:
            self._on_permission(payload)

    def _permission_resolved(self, payload: Payload) -> None:
        decision = {"allow": "allowed", "deny": "denied"}.get(str(payload.get("decision")), "answered")
        reason = f": {one_line(str(payload['reason']))}" if payload.get("reason") else ""
        self._out.line(f"  {decision}{reason}", "green" if decision == "allowed" else "yellow")

    def _permission_withdrawn(self, payload: Payload) -> None:
        self._out.line("  the agent no longer asks", "dim")

    def _user_message(self, payload: Payload) -> None:
        self._out.line("message: " + one_line(str(payload.get("text", ""))), "bold")

    def _session_waiting(self, payload: Payload) -> None:
        self._out.line("waits for what it handed out", "yellow")

    def _session_compacted(self, payload: Payload) -> None:
        self._note("compacted", payload)

    def _log_let_go(self, payload: Payload) -> None:
        self._note("let go", payload)

    def _bus_delegated(self, payload: Payload) -> None:
        self._bus("→", payload.get("name"), str(payload.get("title", "")), payload.get("task_id"))

    def _bus_progress(self, payload: Payload) -> None:
        self._bus("←", payload.get("from"), str(payload.get("text", "")))

    def _bus_result(self, payload: Payload) -> None:
        style = "green" if payload.get("status") == "done" else "red"
        self._out.line(one_line(f"← {payload.get('from')}: {payload.get('title')}: {payload.get('status')}"), style)
        self._folded(str(payload.get("text", "")), _FAILED_LINES)

    def _bus_message(self, payload: Payload) -> None:
        self._bus("←", payload.get("type"), str(payload.get("text", "")))

    def _bus_refused(self, payload: Payload) -> None:
        self._note(f"{payload.get('tool')} refused", payload)

    def _bus(self, arrow: str, who: Any, text: str, task: Any = None) -> None:
        line = self._cut(one_line(f"{arrow} {who}: {text}"), 0)
        self._out.line(line + (f"  task {task}" if task else ""), "cyan")

    def _folded(self, text: str, room: int, style: str = "") -> None:
        lines = clean(text).strip("\n").split("\n")
        for line in lines[:room]:
            self._out.line("    " + self._cut(line, 4), style)
        if len(lines) > room:
            self._out.line(f"    … {len(lines) - room} more lines", "dim")

    def _run_result(self, payload: Payload) -> None:
        self._result = payload

    def _run_completed(self, payload: Payload) -> None:
        self._end("completed", "green")

    def _run_failed(self, payload: Payload) -> None:
        self._end("failed", "red")
        self._out.line("  " + clean(str(payload.get("message") or payload.get("code") or "")), "red")
        if payload.get("hint"):
            self._out.line("  " + clean(str(payload["hint"])))

    def _run_cancelled(self, payload: Payload) -> None:
        self._end("cancelled", "yellow")

    def _end(self, word: str, style: str) -> None:
        self._out.line(" · ".join([word, *_took(self._result)]), style)

    def _note(self, what: str, payload: Payload) -> None:
        message = one_line(str(payload.get("message") or ""))
        self._out.line(f"{what}: {message}" if message else what, "yellow")

    def _cut(self, text: str, indent: int) -> str:
        return cut(text, max((self._out.width or 240) - indent, 20))


def wants(request: Payload) -> str:
    """Return what is asked, on one line, of a request's event or an approval."""
    return one_line(str(request.get("description") or tool_call(str(request.get("tool")), request.get("input"))))


def asked(payload: Payload) -> list[str]:
    """Return what a plan or a question says in full; a tool is told by its one line."""
    given = payload.get("input")
    if not isinstance(given, dict):
        return []
    if payload.get("kind") == "plan":
        return clean(str(given.get("plan", ""))).split("\n")
    lines: list[str] = []
    if payload.get("kind") == "question":
        for question in given.get("questions") or []:
            lines.append(one_line(str(question.get("question", ""))))
            lines += [
                f"  {n}. {one_line(str(option.get('label', '')))}"
                for n, option in enumerate(question.get("options") or [], start=1)
            ]
    return lines


def _took(result: Payload) -> list[str]:
    words = []
    if result.get("duration_seconds") is not None:
        words.append(f"{float(result['duration_seconds']):.1f} s")
    if result.get("turns"):
        words.append(f"{result['turns']} turn{'s' if result['turns'] != 1 else ''}")
    return words


def _text(output: Any) -> str:
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        return "\n".join(str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in output)
    return "" if output is None else str(output)
