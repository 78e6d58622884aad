"""The answer to a prompt without directives: short, plausible, and plain about being scripted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from corral.demo.turns import Call, Say, Script, Step, Think, Turn

if TYPE_CHECKING:
    from corral.demo.conversation import ToolResult

_WRITES = re.compile(
    r"\b(add|build|change|create|document|edit|fix|generate|implement|make|note|refactor|write)\b", re.I
)
_FILE = re.compile(r"(?<![\w/.-])([\w-]+(?:/[\w.-]+)*\.[A-Za-z]{1,5})\b")

PLAIN = "I am Corral's scripted demo model: nothing here is thought up by an AI, but the agent, its tools and its files are real."


def script_for(prompt: str, tools: Sequence[str], cwd: str, results: Sequence[ToolResult]) -> Script:
    """Look around, write a small file if something is to be written, say what was done; as far as the tools go."""
    turns: list[Turn] = []
    asked = _short(prompt)
    opening: list[Step] = [Think(f"The person asks: {asked!r}. I'll look at what is here before I answer."), Say(PLAIN)]
    if not tools:
        return Script((Turn((Say(f"{PLAIN} You said: {asked}"),)),))
    if "Bash" in tools:
        opening.append(Call("Bash", {"command": "ls -A | head -20", "description": "List the files here"}))
    elif "Glob" in tools:
        opening.append(Call("Glob", {"pattern": "*"}))
    turns.append(Turn(tuple(opening)))
    if _WRITES.search(prompt) and "Write" in tools:
        name = _file_name(prompt)
        turns.append(
            Turn(
                (
                    Say(f"Now I'll write `{name}`."),
                    Call("Write", {"file_path": f"{cwd.rstrip('/')}/{name}", "content": _file(name, asked)}),
                )
            )
        )
        outcome = f"`{name}` was not written." if _failed(results) else f"I looked around and wrote `{name}`."
    else:
        outcome = "I looked around and changed nothing."
    closing = f"{outcome} To see me do more, give me a script: send the line `%say hello`, or read docs/demo.md."
    turns.append(Turn((Say(closing),)))
    return Script(tuple(turns))


def _short(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= 200 else line[:199] + "…"


def _file_name(prompt: str) -> str:
    found = _FILE.search(prompt)
    return found[1] if found and ".." not in found[1] else "corral-demo.md"


def _file(name: str, asked: str) -> str:
    line = f"Written by Corral's scripted demo model when asked: {asked}"
    if name.endswith((".py", ".sh", ".toml", ".yml", ".yaml", ".rb")):
        return f"# {line}\n"
    if name.endswith((".js", ".ts", ".go", ".rs", ".c", ".java", ".css")):
        return f"/* {line} */\n"
    return f"{line}\n"


def _failed(results: Sequence[ToolResult]) -> bool:
    return any(result.is_error for result in results)
