"""The answer to a prompt without directives: short, plausible, and plain about being scripted."""

from __future__ import annotations

import re

from corral.demo.conversation import Conversation
from corral.demo.turns import Call, Say, Script, Step, Think, Turn

_WRITES = re.compile(
    r"\b(add|build|change|create|document|edit|fix|generate|implement|make|note|refactor|write)\b", re.IGNORECASE
)
_FILE = re.compile(r"(?<![\w/.-])([\w-]+(?:/[\w.-]+)*\.[A-Za-z]{1,5})\b")

PLAIN = (
    "I am Corral's scripted demo model: nothing here is thought up by an AI, "
    "but the agent, its tools and its files are real."
)
MORE = "To see me do more, give me a script: send the line `%say hello`, or read docs/demo.md."


def answer(talk: Conversation) -> Script:
    """Look around, write a small file if something is to be written, say what was done; as far as the tools go."""
    asked = _short(talk.prompt)
    if not talk.tools:
        return Script((Turn((Say(f"{PLAIN} You said: {asked}"),)),))
    turns = [_look(asked, talk)]
    if talk.planning and talk.plan_file:
        turns += _plan(asked, talk)
    elif _WRITES.search(talk.prompt) and "Write" in talk.tools:
        turns += _write(asked, talk)
    else:
        turns.append(Turn((Say(f"I looked around and changed nothing. {MORE}"),)))
    return Script(tuple(turns))


def _look(asked: str, talk: Conversation) -> Turn:
    steps: list[Step] = [Think(f"The person asks: {asked!r}. I'll look at what is here before I answer."), Say(PLAIN)]
    if "Bash" in talk.tools:
        steps.append(Call("Bash", {"command": "ls -A | head -20", "description": "List the files here"}))
    elif "Glob" in talk.tools:
        steps.append(Call("Glob", {"pattern": "*"}))
    return Turn(tuple(steps))


def _plan(asked: str, talk: Conversation) -> list[Turn]:
    plan = f"# Plan\n\nAsked: {asked}\n\n1. Look at what is here (done).\n2. Write a small file.\n3. Say so.\n"
    write = Call("Write", {"file_path": talk.plan_file, "content": plan})
    outcome = "The plan was turned down." if _refused(talk) else "The plan is approved."
    return [
        Turn((Say("I'll write a plan first."), write)),
        Turn((Call("ExitPlanMode", {}),)),
        Turn((Say(f"{outcome} A real model would go on from here. {MORE}"),)),
    ]


def _write(asked: str, talk: Conversation) -> list[Turn]:
    name = _file_name(talk.prompt)
    write = Call("Write", {"file_path": f"{talk.cwd.rstrip('/')}/{name}", "content": _file(name, asked)})
    outcome = f"`{name}` was not written." if _refused(talk) else f"I looked around and wrote `{name}`."
    return [Turn((Say(f"Now I'll write `{name}`."), write)), Turn((Say(f"{outcome} {MORE}"),))]


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


def _refused(talk: Conversation) -> bool:
    return any(result.is_error for result in talk.results)
