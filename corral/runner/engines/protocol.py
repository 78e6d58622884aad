"""What a job and its worker process say to each other: one JSON object a line, on the worker's stdin and stdout.

The job (in the daemon) owns the process, its limits of time, and the spool. The worker owns the CLI and turns what it
says into canonical events. The end of stdin means the daemon is gone: the worker ends its CLI tree within 10 s and
exits. Nothing but these lines goes to stdout; logs and the CLI's stderr go to stderr.
"""

from __future__ import annotations

import msgspec

from corral.wire.events import EventType, TokenFrame, Usage
from corral.wire.runner import Approve, Assignment, Cancel, Message


class Start(msgspec.Struct, tag_field="line", tag="start"):
    """First line to the worker: the attempt to execute. A spare worker waits for it with the SDK already imported."""

    assignment: Assignment
    private: str  #: a directory of this attempt alone, which goes with it: for secrets that a CLI reads from files
    env: dict[str, str] = {}  #: for the CLI, on top of the worker's own scrubbed environment; holds CORRAL_RUN


class DoApprove(msgspec.Struct, tag_field="line", tag="approve"):
    """A person answered."""

    approve: Approve


class DoMessage(msgspec.Struct, tag_field="line", tag="message"):
    """A person said something to the live run."""

    message: Message


class DoCancel(msgspec.Struct, tag_field="line", tag="cancel"):
    """Stop: interrupt the CLI, then end with `run.cancelled`. The job kills the tree when this takes too long."""

    cancel: Cancel


class DoInterrupt(msgspec.Struct, tag_field="line", tag="interrupt"):
    """The runner is going away: interrupt the CLI, its session can be resumed, and end with `session.interrupted`."""

    message: str = "The runner was stopped"


class DoAnswer(msgspec.Struct, tag_field="line", tag="answer"):
    """What a call of one of Corral's tools came to."""

    id: str
    text: str
    is_error: bool = False


class DoGoOn(msgspec.Struct, tag_field="line", tag="go_on"):
    """What `may_go_on` asked is allowed."""

    id: int


ToWorker = Start | DoApprove | DoMessage | DoCancel | DoInterrupt | DoAnswer | DoGoOn


class Ready(msgspec.Struct, tag_field="line", tag="ready"):
    """First line from the worker: imports are done, it waits for `start`."""


class Emit(msgspec.Struct, tag_field="line", tag="event"):
    """A canonical event. One of ENDS_ATTEMPT is the worker's last; it exits after it."""

    type: EventType
    payload: msgspec.Raw


class Spend(msgspec.Struct, tag_field="line", tag="usage"):
    """A usage line, as a delta; its source is made unique by attempt, turn or message, and model."""

    usage: Usage


class Draft(msgspec.Struct, tag_field="line", tag="draft"):
    """What a message is known to have used. The newest of a source counts if no `usage` line of its turn comes."""

    usage: Usage


class Token(msgspec.Struct, tag_field="line", tag="token"):
    """Streamed text, shown live only. The job thins these to 20 frames a second."""

    token: TokenFrame


class Alive(msgspec.Struct, tag_field="line", tag="alive"):
    """The CLI said something, perhaps nothing for the log: a piece of a long file, or that a tool is still at work."""


class Child(msgspec.Struct, tag_field="line", tag="child"):
    """The CLI's process started (or started again); the job journals it, so that a successor can find the tree."""

    pid: int


class CallTool(msgspec.Struct, tag_field="line", tag="call"):
    """The agent calls one of Corral's tools, and waits for `answer` with the same id, however long that takes."""

    id: str  #: of this call alone, within the attempt
    name: str
    input: msgspec.Raw


class DropCall(msgspec.Struct, tag_field="line", tag="drop"):
    """The agent no longer waits for that answer."""

    id: str


class MayGoOn(msgspec.Struct, tag_field="line", tag="may_go_on"):
    """The agent is about to ask the model again, and waits for `go_on`: said where the attempt's cost is limited."""

    id: int


FromWorker = Ready | Emit | Spend | Draft | Token | Alive | Child | CallTool | DropCall | MayGoOn
