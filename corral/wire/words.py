"""A tool call in one line, the same on every face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The argument that says most about a call, most telling first.
_TELLING = ("command", "file_path", "notebook_path", "path", "url", "query", "pattern", "description", "prompt")


def tool_call(name: str, arguments: Any) -> str:
    """Return `Name main-argument` (`Edit src/app.ts`), on one line."""
    return " ".join(f"{name} {main_argument(arguments)}".split())


def main_argument(arguments: Any) -> str:
    """Return the argument that says most about a call; empty when none is text."""
    if not isinstance(arguments, Mapping):
        return ""
    told = (arguments[key] for key in _TELLING if isinstance(arguments.get(key), str) and arguments[key].strip())
    return next(told, None) or next((value for value in arguments.values() if isinstance(value, str)), "")
