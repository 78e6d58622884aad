"""The runner protocol, version 1: `docs/runner-protocol.md` tells it as a story, these are its shapes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec

from corral.base.ordinary import is_credential
from corral.wire.agents import AgentSnapshot, McpServer
from corral.wire.prices import Price
from corral.wire.runs import Engine, PermissionMode
from corral.wire.tools import run_token

PROTOCOL = 1
LEASE_SECONDS = 90.0
WAIT_SECONDS = 25.0

# What the server refuses with 400. Bounds are wide: they keep out what no table can hold.
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=36)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Directory = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
BigCount = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Cli(msgspec.Struct, forbid_unknown_fields=True):
    """One agent CLI that the runner found on its machine."""

    engine: Engine
    version: str
    signed_in: bool
    detail: str = ""  #: for people: how it is signed in, or what to do so that it is


class Register(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/v1/runners/register`: a runner process says who it is. Each call begins a new session of its uid."""

    uid: Id  #: kept in the runner's locked data directory: the same machine and directory, the same runner
    name: Name
    os: Annotated[str, msgspec.Meta(pattern="^(linux|darwin|windows)$")]
    arch: Annotated[str, msgspec.Meta(pattern="^(amd64|arm64)$")]
    version: Annotated[str, msgspec.Meta(max_length=50)]
    allowed_dirs: Annotated[list[Directory], msgspec.Meta(max_length=1000)]  #: absolute, symlinks resolved
    labels: Annotated[list[Name], msgspec.Meta(max_length=100)] = []
    max_pods: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 4
    clis: Annotated[list[Cli], msgspec.Meta(max_length=100)] = []
    protocol: Count = PROTOCOL


class Registered(msgspec.Struct):
    """The answer: the runner's number in its org, and the session that every later call names."""

    id: int
    session: str
    lease_seconds: float = LEASE_SECONDS
    wait_seconds: float = WAIT_SECONDS


class Held(msgspec.Struct, forbid_unknown_fields=True):
    """A run whose attempt this runner process has."""

    run_id: str
    attempt: Count
    lease: str


class Poll(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/v1/runners/:id/poll`: renews the session's lease on arrival, then waits for work or commands."""

    session: str
    poll_no: BigCount  #: a newer number voids an older poll that still waits
    free_slots: Count
    held: list[Held] = []
    wait_seconds: float = WAIT_SECONDS  #: the server clamps it to 0..25
    draining: bool = False


class Resume(StrEnum):
    """Why an attempt starts from an existing CLI session."""

    FOLLOWUP = "followup"  #: a child run goes on with its parent's session
    CONTINUE = "continue"  #: the same run goes on with a person's message
    INTERRUPTED = "interrupted"  #: the attempt before was cut off; nobody has said anything new


class Limits(msgspec.Struct):
    """What the runner enforces for one attempt; None is no limit. Waiting for a person counts against no time."""

    max_turns: int | None = None
    max_cost_usd: float | None = None
    idle_seconds: float | None = 600.0  #: no event from the CLI for so long: the attempt fails
    run_seconds: float | None = 14400.0


class Money(msgspec.Struct):
    """What an attempt may spend."""

    #: In all, in millionths of a dollar; None: no budget says so, and the prices are for `limits.max_cost_usd`.
    allowed_micros: int | None = None
    prices: list[Price] = []  #: what is spent before anybody reports it, in the order in which they count


class Assignment(msgspec.Struct):
    """One attempt of one run, given to the runner that holds its lease and to nobody else."""

    run_id: str
    attempt: int
    lease: str
    engine: Engine
    prompt: str
    cwd: str
    permission_mode: PermissionMode = PermissionMode.DEFAULT
    model: str | None = None
    session_id: str | None = None  #: the CLI session to resume
    resume: Resume | None = None
    fork: bool = False  #: resume into a new CLI session, because another run already went on with this one
    allowed_tools: list[str] = []  #: run without asking
    system_prompt: str | None = None  #: appended to the CLI's own
    limits: Limits = msgspec.field(default_factory=Limits)
    env: dict[str, str] = {}  #: the org's and the agent's secrets, by name
    agent: AgentSnapshot | None = None  #: whom it executes; such a run may call Corral's own tools
    mcp_servers: list[McpServer] = []
    money: Money | None = None  #: what it may spend; None: as much as it likes
    stored_n: int = 0  #: events of this attempt that the server has (not 0 when an assignment is offered again)
    request_id: str | None = None  #: of the HTTP request that set the run going: what is logged of the attempt names it


def secrets_of(assignment: Assignment) -> Iterator[tuple[str, str]]:
    """Yield what an attempt was given that nobody is to read, by its names."""
    yield "CORRAL_RUN_TOKEN", run_token(assignment.run_id, assignment.lease)
    yield from assignment.env.items()
    for server in assignment.mcp_servers:
        for name, value in server.secrets:
            # What was written there as it is may be any word.
            if is_credential(name, value) or any(one in value for one in assignment.env.values() if len(one) > 3):
                yield name, value


class CommandKind(StrEnum):
    """What the server asks of a runner about a run it holds. It answers `unsupported` to a kind it does not know."""

    APPROVE = "approve"
    CANCEL = "cancel"
    MESSAGE = "message"
    FUND = "fund"
    PAUSE = "pause"
    MCP_TEST = "mcp_test"  #: about no run: `run_id` is empty, `attempt` 0
    FORGET = "forget"  #: likewise, for the run is no more; to be done again until it is done


class Command(msgspec.Struct):
    """A command is offered at every poll until its result is stored; a runner carries it out at most once."""

    id: str
    kind: str  #: a CommandKind, or one that a newer server knows
    run_id: str
    attempt: int
    payload: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))


class Approve(msgspec.Struct):
    """Payload of `approve`."""

    request_id: str
    decision: str  #: allow | deny
    reason: str | None = None
    answers: dict[str, str] | None = None  #: question text → answer, for a question


class McpTest(msgspec.Struct):
    """Payload of `mcp_test`: start this stdio server, ask for its tools, and end it, all within so many seconds."""

    server: McpServer
    seconds: float = 12.0


class Forget(msgspec.Struct):
    """Payload of `forget`: a run was deleted. What the runner and its CLIs still keep of it goes as well."""

    run_id: str
    heirs: list[str] = []  #: runs that will go on with its CLI session, which therefore stays


class McpTool(msgspec.Struct):
    """A tool of an MCP server, by the server's own name."""

    name: str
    description: str = ""


class McpTested(msgspec.Struct):
    """The result of `mcp_test`, as JSON in the command result's `message` where its status is `done`."""

    tools: list[McpTool] = []
    error: str | None = None  #: why it cannot be used; no secret is in it


class Cancel(msgspec.Struct):
    """Payload of `cancel`."""

    by: str = ""
    message: str = "Cancelled"


class Pause(msgspec.Struct, frozen=True):
    """Payload of `pause`, and of the `run.paused` that ends the attempt: why the run is not to go on for now."""

    code: str = "paused"  #: paused (a person said so) | budget
    message: str = "Paused by a person"
    hint: str | None = None
    by: str | None = None


class Fund(msgspec.Struct):
    """Payload of `fund`: what the attempt may spend from now on."""

    allowed_micros: int  #: in all, in place of what it was told before


class Message(msgspec.Struct):
    """Payload of `message`: what a live run is told."""

    text: str
    input: int = 0  #: if not 0: name it in `inputs` of the attempt's last event once the agent has taken it up


class PollAnswer(msgspec.Struct):
    """What a poll answers. Empty lists are the normal case: nothing to do, poll again."""

    assignments: list[Assignment] = []
    commands: list[Command] = []
    lost: list[Held] = []  #: fenced: end these process trees, send no more events of them
    void: bool = False  #: a newer poll of the same session took this one's place


class CommandStatus(StrEnum):
    """How a command ended."""

    DONE = "done"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    INTERRUPTED = "interrupted"  #: it had been started when the runner crashed; it is not started twice


class CommandResult(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/v1/runners/:id/commands/:command_id`."""

    session: str
    status: CommandStatus
    message: str = ""
