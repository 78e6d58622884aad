"""What a request comes down to, whichever API it came by: the prompt in force, the turn, what the tools said.

Everything is derived from the request's own messages, so that the server keeps no state and retries, resumes,
sub-agents and parallel runs can't confuse it.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from corral.demo import script

_CWD = re.compile(r"(?:Primary working directory|Working directory|cwd): *([^\n<]+)")
_PLAN_FILE = re.compile(r"(/\S+/plans/[\w.-]+\.md)")
#: what Claude Code puts in place of a result that it never recorded
_CUT_OFF = "[Tool call interrupted: the session ended before"
_PLACEHOLDER = re.compile(r"\{(\{\{\w+\}\})\}|\{\{(result|user|turn|cwd|plan_file|model)\}\}")


class ToolResult(msgspec.Struct, frozen=True):
    """What one tool call gave back."""

    text: str
    is_error: bool = False


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation, in no provider's shape."""

    role: str  #: user, assistant, or whatever else (which is passed over)
    text: str = ""
    results: tuple[ToolResult, ...] = ()
    aside: bool = False  #: said while a turn was under way: a script in it counts, but plain words end nothing
    answers: int = 0  #: how many answers the client left out and put this in their place


class Conversation(msgspec.Struct, frozen=True):
    """A request, understood."""

    session: str  #: the client's own id of the session, or ""
    model: str
    messages: tuple[Message, ...]
    tools: tuple[str, ...] = ()
    system: str = ""

    @property
    def scripted(self) -> int:
        """Where the message in force is: the newest one with a script, or a newer plain one (the newcomer's answer)."""
        said = [at for at, message in enumerate(self.messages) if message.role == "user" and message.text]
        plain = -1
        for at in reversed(said):
            message = self.messages[at]
            if script.holds_script(message.text):
                return at if plain < 0 or _keeps(message.text) else plain
            if plain < 0 and not message.aside:
                plain = at
        return plain if plain >= 0 else (said[0] if said else 0)

    @property
    def prompt(self) -> str:
        """The text of the message in force."""
        return self.messages[self.scripted].text if self.messages else ""

    @property
    def turn(self) -> int:
        """How many answers to the message in force were given, this one not counted.

        One whose tool calls were all cut off by the end of the session is given again, as a model would.
        """
        since = self.messages[self.scripted + 1 :]
        given = sum(message.answers or message.role == "assistant" for message in since)
        return given - sum(_cut_off(message) for message in since)

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The newest tool results."""
        for message in reversed(self.messages):
            if message.results:
                return message.results
        return ()

    @property
    def newest(self) -> str:
        """The newest prose of a person."""
        for message in reversed(self.messages):
            if message.role == "user" and (text := script.prose(message.text)):
                return text
        return ""

    @property
    def cwd(self) -> str:
        """The directory the agent says it works in, or "."."""
        return self._told(_CWD) or "."

    @property
    def plan_file(self) -> str:
        """Where Claude Code wants a plan to be written in plan mode, or ""."""
        return self._told(_PLAN_FILE)

    @property
    def planning(self) -> bool:
        """Whether Claude Code asked for a plan when the message in force was sent."""
        since = self.messages[self.scripted :]
        return any(message.role == "system" and "Plan mode is active" in message.text for message in since)

    @property
    def key(self) -> str:
        """The same for every attempt at the answers to one message, and for nothing else."""
        first = next((message.text for message in self.messages if message.role == "user"), "")
        parts = (self.session, self.system if not self.session else "", first, str(self.scripted), self.prompt)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]

    def fill(self, text: str) -> str:
        """The text with its placeholders filled in."""
        if "{{" not in text:
            return text
        values = {
            "result": "\n".join(result.text for result in self.results).strip(),
            "user": self.newest,
            "turn": str(self.turn + 1),
            "cwd": self.cwd,
            "plan_file": self.plan_file,
            "model": self.model,
        }
        return _PLACEHOLDER.sub(lambda match: match[1] or values[match[2]], text)

    def _told(self, what: re.Pattern[str]) -> str:
        """The newest that a client told the model, rather than a person or a tool."""
        told = [message.text for message in self.messages if message.role == "system"]
        return next((found[1].strip() for text in (*reversed(told), self.system) if (found := what.search(text))), "")


def _cut_off(message: Message) -> bool:
    return bool(message.results) and all(result.text.startswith(_CUT_OFF) for result in message.results)


def _keeps(text: str) -> bool:
    try:
        return script.parse(text).keep
    except script.ScriptError:
        return True
