"""What a request comes down to, whichever API it came by: the prompt in force, the turn, what the tools said.

Everything is derived from the request's own messages, so that the server keeps no state and retries, resumes,
sub-agents and parallel runs can't confuse it.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from corral.demo import newcomer, script
from corral.demo.turns import Script, Turn

_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_INTERRUPTED = re.compile(r"\[Request interrupted by user[^\]]*\]")
_CWD = re.compile(r"(?:Primary working directory|Working directory|cwd): *([^\n<]+)")
_PLACEHOLDER = re.compile(r"\{(\{\{\w+\}\})\}|\{\{(result|user|turn|cwd|model)\}\}")


class ToolResult(msgspec.Struct, frozen=True):
    """What one tool call gave back."""

    text: str
    is_error: bool = False


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation, in no provider's shape."""

    role: str  #: user, assistant, or whatever else (which is passed over)
    text: str = ""
    results: tuple[ToolResult, ...] = ()


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
        said = [at for at, message in enumerate(self.messages) if message.role == "user" and spoken(message.text)]
        plain = -1
        for at in reversed(said):
            message = self.messages[at]
            if script.holds_script(message.text):
                keep = plain < 0 or _keeps(message.text)
                return at if keep else plain
            # A message joined to tool results was sent while a tool ran: it doesn't end what is going on.
            if plain < 0 and not message.results:
                plain = at
        return plain if plain >= 0 else (said[0] if said else 0)

    @property
    def prompt(self) -> str:
        """The text of the message in force."""
        return spoken(self.messages[self.scripted].text) if self.messages else ""

    @property
    def turn(self) -> int:
        """How many answers to the message in force were given, this one not counted."""
        return sum(message.role == "assistant" for message in self.messages[self.scripted + 1 :])

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
            if message.role == "user" and (text := script.prose(spoken(message.text))):
                return text
        return ""

    @property
    def cwd(self) -> str:
        """The directory the agent says it works in, or "."."""
        for text in (*(message.text for message in self.messages if message.role == "system"), self.system):
            if found := _CWD.search(text):
                return found[1].strip()
        return "."

    @property
    def key(self) -> str:
        """The same for every attempt at the answers to one message, and for nothing else."""
        first = next((message.text for message in self.messages if message.role == "user"), "")
        parts = (self.session, self.system if not self.session else "", first, str(self.scripted), self.prompt)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]

    def script(self) -> Script:
        """The script in force. Raises ScriptError."""
        if script.holds_script(self.prompt):
            return script.parse(self.prompt)
        return newcomer.script_for(self.prompt, self.tools, self.cwd, self.results)

    def next_turn(self) -> Turn:
        """The answer to give now. Raises ScriptError."""
        return self.script().turn(self.turn)

    def fill(self, text: str) -> str:
        """The text with its placeholders filled in."""
        if "{{" not in text:
            return text
        values = {
            "result": "\n".join(result.text for result in self.results).strip(),
            "user": self.newest,
            "turn": str(self.turn + 1),
            "cwd": self.cwd,
            "model": self.model,
        }
        return _PLACEHOLDER.sub(lambda match: match[1] or values[match[2]], text)


def spoken(text: str) -> str:
    """A user message without what the client wrote into it."""
    return _INTERRUPTED.sub("", _REMINDER.sub("", text)).strip()


def _keeps(text: str) -> bool:
    try:
        return script.parse(spoken(text)).keep
    except script.ScriptError:
        return True
