"""The canonical event types of a run's log, who writes each, and the shapes a runner sends them in."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec


class EventType(StrEnum):
    """Every type an event may have. Its writer: `S` the server, `R` the runner, `SR` whoever ends the attempt."""

    RUN_CREATED = "run.created"  # S {task, cwd, engine, permission_mode, model, parent_run_id, by}
    RUN_STARTED = "run.started"  # R {pid, runner, engine, cwd}
    RUN_RESULT = "run.result"  # R {text, turns, duration_seconds, cost_usd, subtype, is_error, session_id}
    RUN_PAUSED = "run.paused"  # SR {code, message, hint, by}: the attempt has ended, the run goes on when it is told to
    RUN_COMPLETED = "run.completed"  # R {text, inputs}: the final text of the agent; the messages it has taken up
    RUN_FAILED = "run.failed"  # SR {code, message, hint}
    RUN_CANCELLED = "run.cancelled"  # SR {message, by}
    SESSION_INIT = "session.init"  # R {session_id, cli_version, model, permission_mode, tools, mcp_servers}
    SESSION_INTERRUPTED = "session.interrupted"  # SR {message}: this attempt's process is gone; the run is queued again
    SESSION_RETRY = "session.retry"  # R {message, status, attempt, delay_seconds}: the model's API asked for patience
    SESSION_COMPACTED = "session.compacted"  # R {message, summary}: older parts no longer fit into the model's window
    SESSION_WAITING = "session.waiting"  # S {text}: in place of run.completed while the run must still hear something
    SESSION_UNREACHABLE = "session.unreachable"  # S {message}
    SESSION_REACHABLE = "session.reachable"  # S {message}
    AGENT_MESSAGE = "agent.message"  # R {text, model, message_id, parent_tool_use_id}
    AGENT_THINKING = "agent.thinking"  # R {text, parent_tool_use_id}
    AGENT_TOOL_CALL = "agent.tool_call"  # R {tool_use_id, name, input, parent_tool_use_id}
    AGENT_TOOL_RESULT = "agent.tool_result"  # R {tool_use_id, name, output, is_error, parent_tool_use_id}
    AGENT_NEEDS_ATTENTION = "agent.needs_attention"  # R {message}
    AGENT_SUBAGENT_START = "agent.subagent_start"  # R {tool_use_id, name, description, prompt}
    AGENT_SUBAGENT_STOP = "agent.subagent_stop"  # R {tool_use_id, name, status, summary}
    PERMISSION_REQUESTED = "permission.requested"  # R ApprovalRequest
    PERMISSION_RESOLVED = "permission.resolved"  # S {approval_id, request_id, decision, reason, answers, by}
    PERMISSION_WITHDRAWN = "permission.withdrawn"  # R {request_id}: the agent no longer asks (interrupted, timed out)
    USER_MESSAGE = "user.message"  # S {text, by}: a follow-up or a message while it runs
    BUS_DELEGATED = "bus.delegated"  # S {task_id, to, name, title}: this run handed a task to another agent
    BUS_RESULT = "bus.result"  # S {task_id, from, title, status, text}: what became of a task it handed out
    BUS_PROGRESS = "bus.progress"  # S {task_id, from, text}: how far such a task is
    BUS_MESSAGE = "bus.message"  # S {message_id, type, from, text}: another agent or a person told it something
    BUS_REFUSED = "bus.refused"  # S {tool, code, message}: a governor stopped it
    LOG_LET_GO = "log.let_go"  # S {message}: in the place of what stood here; the run ended long ago
    AGENT_TOKEN = "agent.token"  # R, live only: {block, offset, text}; never stored, has no seq


#: Types that only the server may write; a runner that sends one is refused with 400.
SERVER_WRITES = frozenset(
    {
        EventType.RUN_CREATED,
        EventType.SESSION_WAITING,
        EventType.SESSION_UNREACHABLE,
        EventType.SESSION_REACHABLE,
        EventType.PERMISSION_RESOLVED,
        EventType.USER_MESSAGE,
        EventType.BUS_DELEGATED,
        EventType.BUS_RESULT,
        EventType.BUS_PROGRESS,
        EventType.BUS_MESSAGE,
        EventType.BUS_REFUSED,
        EventType.LOG_LET_GO,
    }
)
#: Types in which an agent says something: a CLI that has come so far has its prompt on disk.
SPOKE = frozenset({EventType.AGENT_MESSAGE, EventType.AGENT_THINKING, EventType.AGENT_TOOL_CALL})
#: Types that end an attempt; the first of them to commit wins, later events of the attempt are fenced.
ENDS_RUN = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
ENDS_ATTEMPT = ENDS_RUN | {EventType.RUN_PAUSED, EventType.SESSION_INTERRUPTED}
#: Types whose arrival changes the run's row or a row beside it; the others only append.
FOLDED = ENDS_ATTEMPT | {
    EventType.RUN_STARTED,
    EventType.SESSION_INIT,
    EventType.SESSION_WAITING,
    EventType.PERMISSION_REQUESTED,
    EventType.PERMISSION_WITHDRAWN,
}


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class RunnerEvent(msgspec.Struct, forbid_unknown_fields=True):
    """One event as a runner numbers it: `n` counts from 1 within an attempt, without gaps."""

    n: Count
    type: EventType
    payload: msgspec.Raw  #: a JSON object, stored as it came
    age: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = (
        0.0  #: seconds since it happened, at the moment of sending; the clock is the server's
    )


class TokenFrame(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of text as the model streams it. Shown live, never stored: the whole text comes as an event."""

    block: str  #: names the streamed block within the attempt
    offset: Count  #: characters of this block that were sent before
    text: str
    kind: str = "text"  #: text | thinking


class Usage(msgspec.Struct, forbid_unknown_fields=True):
    """What one turn or message cost, as a delta: lines are summed, never compared."""

    source: str  #: unique in its run, e.g. `1/turn-3/claude-sonnet-4-6`: a replay adds nothing
    model: str
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    cost_micros: Count | None = None  #: what the CLI said it cost, in millionths of a US dollar
    estimated: bool = False  #: counted from a stream that was cut, not from a finished answer
    longest: Count | None = None  #: of a line that sums up several requests, with how many tokens the longest asked


class Drafts(msgspec.Struct, forbid_unknown_fields=True):
    """What an attempt has used that no usage line tells yet: all of it, in place of what was said before."""

    at: Count  #: grows within the attempt: what comes late does not count
    lines: list[Usage] = []  #: the newest word on each message whose turn has not told its sums


class EventBatch(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/v1/runs/:id/events`: what an attempt has spooled since the server last said what it has."""

    attempt: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    lease: str
    events: list[RunnerEvent] = []
    usage: list[Usage] = []
    tokens: list[TokenFrame] = []
    drafts: Drafts | None = None  #: if they have changed


class EventsStored(msgspec.Struct):
    """The answer: everything up to `n` is stored. It may go down (the server lost power): send again from there."""

    n: int


class ApprovalKind(StrEnum):
    """What is asked of a person."""

    TOOL = "tool"
    PLAN = "plan"
    QUESTION = "question"


class ApprovalRequest(msgspec.Struct):
    """Payload of `permission.requested`: the exact action that waits for a person's answer."""

    request_id: str  #: unique in its attempt; the `approve` command names it
    kind: ApprovalKind
    tool: str
    input: msgspec.Raw  #: the tool's input, a JSON object; for a question `{questions: [...]}`, for a plan `{plan}`
    cwd: str
    tool_use_id: str | None = None
    description: str = ""  #: one line for people: `Bash npm test`
