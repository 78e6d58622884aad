"""A tool call in one line, the same on every face (`assets/console/log/tools.js` says it the same way)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.wire.tools import SERVER, Tool

#: The argument that says most about a call, most telling first.
_TELLING = ("command", "file_path", "notebook_path", "path", "url", "query", "pattern", "description", "prompt")
#: What says most about a call of one of Corral's own tools.
_OWN = {
    Tool.DELEGATE_TASK: ("to", "title"),
    Tool.CHECK_TASK: ("id",),
    Tool.SEND_MESSAGE: ("to", "text"),
    Tool.ASK_HUMAN: ("question",),
    Tool.REPORT_PROGRESS: ("text",),
}


def tool_call(name: str, arguments: Any) -> str:
    """Return `Name main-argument` (`Edit src/app.ts`, `delegate_task Bo: List all endpoints`), on one line."""
    bare = tool_name(name)
    return " ".join(f"{bare} {_main(bare, arguments)}".split())


def tool_name(name: str) -> str:
    """Return a tool's name as people read it: Corral's own are bare, whichever engine called them."""
    return name.removeprefix(f"mcp__{SERVER}__")


def _main(name: str, arguments: Any) -> str:
    """Return what says most about a call; empty when none of its arguments is text."""
    if not isinstance(arguments, Mapping):
        return ""
    texts = {key: value for key, value in arguments.items() if isinstance(value, str) and value.strip()}
    if name in _OWN:
        return ": ".join(texts[key] for key in _OWN[Tool(name)] if key in texts)
    return next((texts[key] for key in (*_TELLING, *texts) if key in texts), "")
