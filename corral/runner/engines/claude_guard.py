"""What is decided about the tools of MCP servers: it holds in every permission mode, and for subagents as well.

Claude Code asks before each call, also in modes in which it asks nobody for permission. Denied tools that are named
in full it is not even shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from corral.runner.engines.claude_sdk import (
    HookMatcher,
    PermissionResult,
    PermissionResultAllow,
    PermissionResultDeny,
    ToolPermissionContext,
)
from corral.wire.agents import McpServer, Ruling, plain_name

Ask = Callable[[str, dict[str, Any], ToolPermissionContext], Awaitable[PermissionResult]]

#: A person may take a day to answer; what the CLI can count to in milliseconds is 24 days.
_PATIENCE = 2_000_000.0
_DENIED = "Nobody may call this tool: those who look after this MCP server decided so."


class Guard:
    """The rulings on the tools of one attempt's servers."""

    def __init__(self, servers: Sequence[McpServer], ask: Ask) -> None:
        """Take the servers, and how to ask people."""
        self._ruled = [server for server in servers if server.is_ruled]
        self._ask = ask
        self._allowed: dict[str, dict[str, Any]] = {}  #: what people allowed: the input, by the tool use

    def ruling(self, tool: str) -> Ruling | None:
        """Return what is decided about a tool by Claude Code's name: the strictest, if it may be of two servers."""
        found = set()
        for server in self._ruled:
            prefix = _prefix(server)
            if tool.startswith(prefix):
                found.add(server.ruling(tool.removeprefix(prefix)))
        return next((ruling for ruling in Ruling if ruling in found), None)

    @property
    def disallowed(self) -> list[str]:
        """Return the denied tools that are named in full."""
        return [_prefix(server) + plain_name(tool) for server in self._ruled for tool in server.deny if "*" not in tool]

    @property
    def hooks(self) -> dict[Any, list[HookMatcher]]:
        """Return what is asked before each call; a failure of it is a no."""
        if not self._ruled:
            return {}
        matcher = HookMatcher(matcher="mcp__.*", hooks=[self._judge], timeout=_PATIENCE, on_failure="block")
        return {"PreToolUse": [matcher]}

    async def permit(self, tool: str, given: dict[str, Any], context: ToolPermissionContext) -> PermissionResult:
        """Answer the SDK's `can_use_tool`: nobody is asked what is decided, nor twice, as plan mode would."""
        match self.ruling(tool):
            case Ruling.DENY:
                return PermissionResultDeny(message=_DENIED)
            case Ruling.ALLOW:
                return PermissionResultAllow()
            case Ruling.ASK if self._allowed.pop(context.tool_use_id or "", None) == given:
                return PermissionResultAllow()
        return await self._ask(tool, given, context)

    async def _judge(self, asked: Any, tool_use_id: str | None, _context: Any) -> Any:
        tool = asked["tool_name"]
        match self.ruling(tool):
            case Ruling.DENY:
                return _decision("deny", _DENIED)
            case Ruling.ALLOW:
                return _decision("allow", "")
            case Ruling.ASK:
                context = ToolPermissionContext(tool_use_id=tool_use_id or asked.get("tool_use_id"))
                given = dict(asked["tool_input"])
                answer = await self._ask(tool, given, context)
                if isinstance(answer, PermissionResultDeny):
                    return _decision("deny", answer.message)
                if context.tool_use_id:
                    self._allowed[context.tool_use_id] = given
                return _decision("allow", "A person allowed it.")
        return {}


def _prefix(server: McpServer) -> str:
    return f"mcp__{server.name}__"


def _decision(decision: str, why: str) -> dict[str, Any]:
    told = {"hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": why}
    return {"hookSpecificOutput": told}
