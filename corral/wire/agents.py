"""What a run keeps of the agent it executes, and the MCP servers it is given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec

_NO_NAME = re.compile(r"[^a-zA-Z0-9_*-]")


class Ruling(StrEnum):
    """What is decided about a tool, from the strictest."""

    DENY = "deny"
    ASK = "ask"
    ALLOW = "allow"


class AgentSnapshot(msgspec.Struct, frozen=True):
    """An agent as it was when its run was queued: a later edit changes later runs only."""

    id: str
    name: str
    role: str
    instructions: str | None = None
    model: str | None = None
    provider: str | None = None
    team: str | None = None
    glyph: str = ""
    max_turns: int | None = None


class McpServer(msgspec.Struct, frozen=True):
    """An MCP server as an engine starts or calls it: references to secrets are replaced by their values."""

    name: str
    transport: str  #: stdio | http
    command: str | None = None
    args: tuple[str, ...] = ()
    url: str | None = None
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    #: Its tools by the server's own names, or patterns with `*`: `deny` wins over `ask`, and that over `allow`. They
    #: hold in every permission mode, which decides on the others.
    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    id: str = ""

    @property
    def secrets(self) -> Iterator[tuple[str, str]]:
        """Yield what it is given that nobody is to read, by its names."""
        for name, value in (*self.env.items(), *self.headers.items()):
            yield f"{self.name}.{name}", value
            if name in self.headers and " " in value:  # the scheme is not secret: `Bearer …`
                yield f"{self.name}.{name}", value.partition(" ")[2]

    @property
    def is_ruled(self) -> bool:
        """Tell whether there are rules about its tools."""
        return bool(self.allow or self.ask or self.deny)

    def ruling(self, tool: str) -> Ruling | None:
        """Return what is decided about a tool; None leaves it to the permission mode."""
        for ruling, patterns in ((Ruling.DENY, self.deny), (Ruling.ASK, self.ask), (Ruling.ALLOW, self.allow)):
            if any(fnmatchcase(plain_name(tool), plain_name(pattern)) for pattern in patterns):
                return ruling
        return None


def key_name(provider: str) -> str:
    """Return the name of the secret that holds the key of a provider's API."""
    return f"{provider.upper()}_API_KEY"


def plain_name(tool: str) -> str:
    """Return a tool's name, or a pattern, as CLIs and models see it."""
    return _NO_NAME.sub("_", tool)


def system_prompt(agent: AgentSnapshot) -> str:
    """Return what the model is told of who it is: the instructions, else the role."""
    team = f" of the team {agent.team}" if agent.team else ""
    return (
        f"{agent.instructions or agent.role}\n\n"
        f"You are {agent.name}{team}, one of several agents that work together (your id is {agent.id}). "
        "Hand work to the others with delegate_task; what you answer at the end of your turn is your result."
    )
