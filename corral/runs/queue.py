"""What people ask for: launch a run, follow it up, say something to it, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from corral.base import logs
from corral.base.errors import BadRequest, Conflict, NotFound
from corral.base.ids import new_id
from corral.base.paths import covers, parse
from corral.platform import acting, audit, database, keys, metrics
from corral.platform.audited import Action
from corral.platform.database import Duplicate, Row, Statement, Unit, sql
from corral.runs import admission, commands, ending, inputs, log, placements, places, reads, runners, states
from corral.runs.hints import Hints, decide
from corral.runs.models import Run
from corral.runs.runners import Machine
from corral.usage import accounts, budgets
from corral.usage.accounts import Account
from corral.wire.agents import AgentSnapshot
from corral.wire.events import EventType
from corral.wire.runner import Cancel, CommandKind, Limits, Message, Resume
from corral.wire.runs import ENDED, LIVE, Engine, PermissionMode, RunStatus

_LAUNCHES = metrics.LAUNCHES.of()


class Launch(msgspec.Struct, kw_only=True):
    """A run somebody asks for."""

    prompt: str
    cwd: str  #: absolute, of the machine that will execute it
    created_by: str
    id: str = msgspec.field(default_factory=new_id)
    engine: Engine = Engine.CLAUDE_CODE
    runner: str | int | None = None  #: number or uid of the runner it must go to
    permission_mode: PermissionMode = PermissionMode.DEFAULT
    model: str | None = None
    labels: Sequence[str] = ()
    allowed_tools: Sequence[str] = ()
    limits: Limits = msgspec.field(default_factory=Limits)
    priority: int = 0
    agent: AgentSnapshot | None = None  #: whom it executes
    task_id: str | None = None  #: the task it works on
    tree_id: str | None = None  #: the task at the top of that one's tree
    epic_id: str | None = None  #: which that belongs to


class Prepared(msgspec.Struct):
    """A launch whose place has been found: what can be enqueued within another unit."""

    wanted: Launch
    needs: tuple[str, tuple[str, ...], int | None, str]  #: of its placement: engine, labels, pinned runner, root
    account: Account


async def launch(org_id: int, wanted: Launch) -> Run:
    """Queue a run; BadRequest if no runner that is known could ever take it. The same id twice is the same run."""
    prepared = await prepare(org_id, wanted)
    return await _launched(org_id, wanted.id, lambda hints: enqueue(org_id, prepared, hints))


async def prepare(org_id: int, wanted: Launch) -> Prepared:
    """Find where a run may go; BadRequest if no runner that is known could ever take it."""
    key_id, user_id = await _payer(wanted.created_by)
    account = Account(
        agent_id=wanted.agent.id if wanted.agent else None,
        team=wanted.agent.team if wanted.agent else None,
        task_id=wanted.task_id,
        tree_id=wanted.tree_id,
        epic_id=wanted.epic_id,
        key_id=key_id,
        user_id=user_id,
        labels=_labels(wanted),
    )
    if wanted.engine == Engine.PROVIDER:
        prepared = Prepared(wanted, (wanted.engine.value, (), None, "/"), account)
    else:
        if parse(wanted.cwd) is None:
            raise BadRequest(f"cwd must be an absolute path, not {wanted.cwd!r}", field="cwd")
        pinned_no, root = await runners.consult(org_id, lambda machines: _place(machines, wanted))
        prepared = Prepared(wanted, (wanted.engine.value, tuple(wanted.labels), pinned_no, root), account)
    await placements.remember(org_id, *prepared.needs)
    return prepared


def enqueue(org_id: int, prepared: Prepared, hints: Hints) -> Unit[Row]:
    """Queue what was prepared; Duplicate if its id was launched before."""
    placement = yield from placements.ensure(org_id, *prepared.needs)
    wanted, pinned_no = prepared.wanted, prepared.needs[2]
    more: dict[str, Any] = {"pinned_no": pinned_no}
    if wanted.agent is not None:
        more |= {"agent_id": wanted.agent.id, "agent": _json(wanted.agent), "task_id": wanted.task_id}
    return (yield from _enqueue(org_id, wanted, placement, hints, account=prepared.account, more=more))


async def follow_up(org_id: int, parent_id: str, prompt: str, by: str, run_id: str | None = None) -> Run:
    """Queue a child run that resumes the parent's CLI session on its machine; a second child forks the session."""
    child_id = run_id or new_id()
    key_id, user_id = await _payer(by)

    def unit(hints: Hints) -> Unit[Row]:
        rows = yield sql(
            "UPDATE runs SET followups = followups + 1 WHERE id = $1 AND org_id = $2 RETURNING *", parent_id, org_id
        )
        parent = _found(rows, parent_id)
        if parent["status"] not in ENDED:
            way = "continue it" if parent["status"] == RunStatus.PAUSED else "wait for its end, or send it a message"
            raise Conflict(f"The run is {parent['status']}; {way}")
        if parent["session_id"] is None or parent["runner_no"] is None:
            raise Conflict("The run ended before its CLI session began, so nothing can be resumed; launch a new one")
        placement = yield from placements.home(parent, parent["session_id"])
        child = Launch(
            id=child_id,
            prompt=prompt,
            cwd=parent["cwd"],
            created_by=by,
            engine=Engine(parent["engine"]),
            permission_mode=PermissionMode(parent["permission_mode"]),
            model=parent["model"],
            labels=msgspec.json.decode(parent["labels"]),
            allowed_tools=msgspec.json.decode(parent["allowed_tools"]),
            limits=msgspec.json.decode(parent["limits"], type=Limits),
            priority=parent["priority"],
        )
        account = accounts.decode(parent["account"], parent["agent_id"])  # what goes on is for the same task
        resumed = {
            "parent_no": parent["no"],
            "parent_id": parent["id"],
            "session_id": parent["session_id"],
            "resume": Resume.FOLLOWUP.value,
            "fork": parent["followups"] > 1,
            "pinned_no": parent["runner_no"] if parent["engine"] != Engine.PROVIDER else None,
            "agent_id": parent["agent_id"],
            "agent": parent["agent"],
        }
        account = replace(account, key_id=key_id, user_id=user_id)
        return (yield from _enqueue(org_id, child, placement, hints, account=account, more=resumed))

    return await _launched(org_id, child_id, unit)


async def say(org_id: int, run_id: str, text: str, by: str) -> None:
    """Tell a live run something; it is in the log at once and reaches the agent with the runner's next poll."""

    def unit(hints: Hints) -> Unit[None]:
        run = yield from locked(org_id, run_id)
        if run["status"] not in LIVE:
            raise Conflict(f"The run is {run['status']}; only a live run takes messages. {_INSTEAD[run['status']]}")
        yield from log.append(run["no"], EventType.USER_MESSAGE, {"text": text, "by": by}, hints)
        if run["attempt_open"]:
            yield from commands.issue(run, CommandKind.MESSAGE, Message(text=text), hints)
        else:  # it has ended its turn and waits
            yield from inputs.tell(run, text, hints)
        yield from audit.note(org_id, "run.messaged", "run", run_id)

    await decide(unit)


async def cancel(org_id: int, run_id: str, by: str) -> None:
    """Ask for a run's end. A queued one ends now, a live one when its runner has ended the processes."""

    def unit(hints: Hints) -> Unit[None]:
        run = yield from locked(org_id, run_id)
        if run["status"] in ENDED:
            raise Conflict(f"The run has already ended: it is {run['status']}")
        yield from stop(run, by, hints)
        if run["cancel_requested_at"] is None:
            yield from audit.note(org_id, "run.cancelled", "run", run_id, was=run["status"])

    await decide(unit)


def stop(run: Row, by: str, hints: Hints) -> Unit[None]:
    """Do so within another unit, to a locked run that has not ended."""
    yield sql("UPDATE runs SET cancel_requested_at = now_ms(), cancel_by = $2 WHERE no = $1", run["no"], by)
    if run["attempt_open"] and run["unreachable_since"] is None:
        if run["cancel_requested_at"] is None:
            yield from commands.issue(run, CommandKind.CANCEL, Cancel(by, ending.CANCELLED), hints)
    else:
        yield from ending.cancel(run["no"], by, hints)


async def _payer(created_by: str) -> tuple[str | None, str | None]:
    """Return the key and the person that a run is paid by: of a delegated one, those of the run that delegated."""
    kind, _, id_ = created_by.partition(":")
    match kind:
        case "key":
            return id_, await keys.owner(id_)
        case "user":
            return None, id_
        case "run":
            rows = await database.fetch("SELECT account FROM runs WHERE id = $1", id_)
            account = accounts.decode(rows[0]["account"] if rows else None)
            return account.key_id, account.user_id
    return None, None


async def _launched(org_id: int, run_id: str, unit: Callable[[Hints], Unit[Row]]) -> Run:
    """Commit the launch and return its run; the one that is there if this id was launched before."""
    try:
        row = await decide(unit)
    except Duplicate:
        return await reads.get(org_id, run_id)
    await asyncio.sleep(
        0
    )  # the poll that was woken goes first: its runner starts the work, the caller only hears of it
    return reads.from_row(row)


def _place(machines: Sequence[Machine], wanted: Launch) -> tuple[int | None, str]:
    pinned = _pinned(machines, wanted.runner)
    return pinned.no if pinned else None, _root(machines, pinned, wanted.cwd)


def _pinned(machines: Sequence[Machine], runner: str | int | None) -> Machine | None:
    if runner is None:
        return None
    for machine in machines:
        if machine.answers_to(runner):
            return machine
    raise BadRequest(f"runnerId: there is no runner {runner} here", field="runnerId")


def _root(machines: Sequence[Machine], pinned: Machine | None, cwd: str) -> str:
    """Return the longest allowed directory that covers `cwd`: whoever covers `cwd` covers that as well."""
    candidates = [pinned] if pinned else machines
    covering = [d for machine in candidates for d in machine.allowed_dirs if covers(d, cwd)]
    if covering:
        return max(covering, key=len)
    if not candidates:
        return cwd
    allowed = ", ".join(sorted({d for machine in candidates for d in machine.allowed_dirs})[:5])
    whose = f"runner {pinned.name} allows" if pinned else "the known runners allow"
    raise BadRequest(f"cwd: {cwd} is in no directory that {whose} ({allowed})", field="cwd")


def _enqueue(
    org_id: int, run: Launch, placement_id: int, hints: Hints, *, account: Account, more: dict[str, Any]
) -> Unit[Row]:
    is_agents = more.get("agent_id") is not None
    hold = states.NEW if is_agents or budgets.over(org_id, account) or places.are_limited() else None
    columns = {
        "id": run.id,
        "org_id": org_id,
        "status": RunStatus.QUEUED.value,
        "engine": run.engine.value,
        "prompt": run.prompt,
        "cwd": run.cwd,
        "permission_mode": run.permission_mode.value,
        "model": run.model,
        "limits": _json(run.limits),
        "allowed_tools": _json(list(run.allowed_tools)),
        "created_by": run.created_by,
        "labels": _json(_labels(run)),
        "placement_id": placement_id,
        "priority": run.priority,
        "fork": False,
        "account": accounts.encode(account),
        "hold": hold,
        "request_id": logs.worked_for(),
        **more,
    }
    created = {
        "task": run.prompt,
        "cwd": run.cwd,
        "engine": run.engine.value,
        "permission_mode": run.permission_mode.value,
        "model": run.model,
        "parent_run_id": more.get("parent_id"),
        "by": run.created_by,
    }
    hints.count(_LAUNCHES)
    insert, args = _insert(tuple(columns)), tuple(columns.values())
    line = _line(org_id, run, more)
    if database.dialect() == "postgres":
        at_once = Statement(_insert_at_once(insert, len(args)), (*args, _json(created), *line), alone=hold is None)
        rows = yield at_once
    else:
        rows = yield sql(insert, *args)
        yield sql(audit.insert(), *line)
        yield sql(
            log.INSERT, rows[0]["no"], 1, org_id, 0, None, EventType.RUN_CREATED.value, _json(created),
            rows[0]["created_at"],
        )  # fmt: skip
    if hold is None:
        hints.placement(placement_id)
    elif is_agents:
        yield from states.entered(rows[0], hints)
    else:
        rows = yield from admission.settle(rows[0], hints)
        if places.is_held(rows[0]["hold"]):  # nobody's work would be lost, so whoever launches it is told
            yield from places.demand(org_id, rows[0]["no"])
    return rows[0]


def _line(org_id: int, run: Launch, more: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the launch's line of the audit log; what comes of a message names who sent that."""
    told = {
        "engine": run.engine.value,
        "cwd": run.cwd or None,
        "agent": more.get("agent_id"),
        "task": run.task_id,
        "follows": more.get("parent_id"),
        "by": run.created_by if run.created_by != acting.now().actor else None,
    }
    action: Action = "run.followed_up" if "parent_id" in more else "run.launched"
    return audit.values(org_id, action, "run", run.id, told)


def _labels(run: Launch) -> tuple[str, ...]:
    return tuple(sorted(set(run.labels)))


@cache
def _insert(columns: tuple[str, ...]) -> str:
    return (
        f"INSERT INTO runs ({', '.join(columns)}, followups, attempt, attempt_open, tries, awaits, last_seq, spool_n, "  # noqa: S608
        f"created_at, updated_at) VALUES ({', '.join(f'${n}' for n in range(1, len(columns) + 1))}, "
        "0, 0, FALSE, 0, 0, 1, 0, now_ms(), now_ms()) RETURNING *"
    )


@cache
def _insert_at_once(insert: str, columns: int) -> str:
    """Return the statement that also logs the run's creation and who launched it, in one round trip."""
    return (
        f"WITH run AS ({insert}), created AS (INSERT INTO events (run_no, seq, org_id, attempt, n, type, payload, "  # noqa: S608
        f"created_at) SELECT no, 1, org_id, 0, NULL, '{EventType.RUN_CREATED}', ${columns + 1}, created_at FROM run), "
        f"noted AS ({audit.insert(columns + 2)}) "
        "SELECT * FROM run"
    )


#: What to do with a run that takes no messages.
_INSTEAD = {
    RunStatus.QUEUED: "Wait until it has started",
    RunStatus.PAUSED: "Continue it with your message instead",
    **dict.fromkeys(ENDED, "Follow it up, or continue it with your message instead"),
}


def locked(org_id: int, run_id: str) -> Unit[Row]:
    """Read the run, and the database's `now`, and keep others from changing it until the commit."""
    rows = yield sql(
        "UPDATE runs SET followups = followups WHERE id = $1 AND org_id = $2 RETURNING *, now_ms() AS now",
        run_id,
        org_id,
    )
    return _found(rows, run_id)


def _found(rows: Sequence[Row], run_id: str) -> Row:
    if not rows:
        raise NotFound(f"There is no run {run_id} here")
    return rows[0]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
