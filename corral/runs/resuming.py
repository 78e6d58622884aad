"""How does an interrupted run go on? In the CLI's session if that holds something of it, else as it had begun."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.platform.database import Row, Rows, Unit, sql
from corral.runs import inputs
from corral.wire.events import SPOKE, EventType
from corral.wire.runner import CommandKind, CommandStatus, Message, Resume
from corral.wire.runs import Engine

#: What a resumed CLI session is told when nobody has said anything new.
INTERRUPTED = (
    "You were interrupted because the machine's runner stopped; the work so far is in this session. "
    "Continue where you left off, and do not repeat what is already done."
)
#: The same of one that was paused.
PAUSED = (
    "You were paused; the work so far is in this session. "
    "Continue where you left off, and do not repeat what is already done."
)
#: What a person who lets a run go on that had failed or was cancelled means, if they say nothing else.
GO_ON = "Continue where you left off, and do not repeat what is already done."
_SAID = "In the meantime a person said:"
_ALWAYS = 2**62
#: A CLI that has come so far has its prompt on disk; one that has merely named its session may not.
_SPOKE = ", ".join(f"'{kind}'" for kind in sorted(SPOKE))


def next_start(run: Row, told: str = INTERRUPTED) -> Unit[dict[str, Any]]:
    """Return the columns that say how the next attempt starts; `run` is the whole row, `told` tells of the cut."""
    spoke = yield from _last_word(run)
    if spoke is None:
        start = yield from _anew(run, run["next_prompt"])
    elif spoke["attempt"] == run["attempt"]:
        start = {"next_prompt": told}
    else:
        start = yield from _back_in(run, spoke["attempt"])
    unheard = yield from _unheard(run, _heard_until(run, spoke))
    if unheard:
        start["next_prompt"] = also_said(start.get("next_prompt", run["next_prompt"]) or run["prompt"], *unheard)
    return start


def next_turn(run: Row, message: str) -> Unit[dict[str, Any]]:
    """Return the columns that say how a run begins that had ended and is told something new."""
    spoke = yield from _last_word(run)
    if spoke is None:
        return (yield from _anew(run, message))
    start = {} if spoke["attempt"] == run["attempt"] else (yield from _back_in(run, spoke["attempt"]))
    start |= {"next_prompt": message, "resume": Resume.CONTINUE.value}
    if start.get("fork") or run["followups"] > 0:  # another run has gone on with its session
        start |= {"fork": True, "followups": 0}
    return start


def also_said(told: str, *texts: str) -> str:
    """Return what the next attempt is told, with what a person said before it could begin."""
    return "\n\n".join([told, *(() if _SAID in told else (_SAID,)), *texts])


def _last_word(run: Row) -> Unit[Row | None]:
    """Return the last event in which the run's agent said something."""
    rows = yield sql(
        f"SELECT attempt, created_at FROM events WHERE run_no = $1 AND type IN ({_SPOKE}) ORDER BY seq DESC LIMIT 1",  # noqa: S608 - constants
        run["no"],
    )
    return rows[0] if rows else None


def _heard_until(run: Row, spoke: Row | None) -> int:
    """Return until when it counts as heard what the agent was given."""
    if run["engine"] == Engine.PROVIDER:
        return _ALWAYS  # given means that it is part of the stored conversation
    return spoke["created_at"] if spoke and spoke["attempt"] == run["attempt"] else 0


def _anew(run: Row, also: str | None) -> Unit[dict[str, Any]]:
    """The agent never said a word: what it was told counts as never said, and is told with what came after."""
    told = also if also is None or also.startswith(run["prompt"]) else f"{run['prompt']}\n\n{also}"
    if run["parent_no"] is None:
        return {"session_id": None, "resume": None, "fork": False, "next_prompt": told}
    parent: Rows = yield sql("SELECT session_id FROM runs WHERE no = $1", run["parent_no"])
    if not parent:  # it was deleted: what this run has of its session is all there is
        return {}
    session = parent[0]["session_id"]
    # A fork that began has another session than its parent.
    fork = bool(run["fork"]) or run["session_id"] != session
    return {"session_id": session, "resume": Resume.FOLLOWUP.value, "fork": fork, "next_prompt": told}


def _back_in(run: Row, attempt: int) -> Unit[dict[str, Any]]:
    """The agent said no word in this attempt: of a fork of its session there may be nothing but the name."""
    if run["engine"] == Engine.PROVIDER:
        return {}  # all of it is stored
    rows = yield sql(
        "SELECT payload FROM events WHERE run_no = $1 AND type = $2 AND attempt <= $3 ORDER BY seq DESC LIMIT 1",
        run["no"], EventType.SESSION_INIT.value, attempt,
    )  # fmt: skip
    session = str(msgspec.json.decode(rows[0]["payload"]).get("session_id") or "")[:100] if rows else ""
    if not session or session == run["session_id"]:
        return {}
    return {"session_id": session, "fork": True}


def _unheard(run: Row, spoke_at: int) -> Unit[list[str]]:
    """Return what the agent was told but not given, or did not answer with a word before it was cut off."""
    rows = yield sql(
        "SELECT payload, status IS NULL OR status <> $4 OR created_at >= $5 AS is_unheard FROM commands "
        "WHERE run_no = $1 AND attempt = $2 AND kind = $3 ORDER BY no",
        run["no"], run["attempt"], CommandKind.MESSAGE.value, CommandStatus.DONE.value, spoke_at,
    )  # fmt: skip
    told = [(msgspec.json.decode(row["payload"], type=Message), row["is_unheard"]) for row in rows]
    if settled := [message.input for message, _ in told if message.input]:  # heard, or part of what is told next
        yield from inputs.taken(run["no"], settled)
    return [message.text for message, is_unheard in told if is_unheard]
