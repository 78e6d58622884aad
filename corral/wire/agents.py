"""What a run keeps of the agent it executes, and the MCP servers it is given."""

from __future__ import annotations

import msgspec


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


def system_prompt(agent: AgentSnapshot) -> str:
    """Return what the model is told of who it is: the instructions, else the role."""
    team = f" of the team {agent.team}" if agent.team else ""
    return (
        f"{agent.instructions or agent.role}\n\n"
        f"You are {agent.name}{team}, one of several agents that work together (your id is {agent.id}). "
        "Hand work to the others with delegate_task; what you answer at the end of your turn is your result."
    )
