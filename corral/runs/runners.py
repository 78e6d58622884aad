"""The machines that pull runs: registration, what they offer, and how they are known to the rest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from corral import bus
from corral.base.errors import BadRequest, Conflict, NotFound, Unavailable
from corral.base.ids import new_token
from corral.base.paths import covers
from corral.platform import audit, database, plans
from corral.platform.database import Duplicate, Unit, sql
from corral.runs import placements
from corral.runs.hints import MACHINES, Hints, decide
from corral.runs.placements import PLATFORM, Offer
from corral.wire.runner import LEASE_SECONDS, Cli, Register, Registered
from corral.wire.runs import Engine

T = TypeVar("T")

_LEASE_MS = int(LEASE_SECONDS * 1000)
#: Seconds that a process may go on with the runners it has read, if it hears of no registration.
_FRESH = 1.0
#: How many machines may be new at the same moment and each be given a number.
_TRIES = 100
#: More than there are numbers.
_ALL = 2**31 - 1
_NUMBER = re.compile("[1-9][0-9]{0,8}")


class Machine(msgspec.Struct, frozen=True):
    """A runner as it last introduced itself, with whether it is there."""

    no: int
    id: int  #: the number people see
    uid: str
    name: str
    os: str
    arch: str
    version: str
    labels: tuple[str, ...]
    allowed_dirs: tuple[str, ...]
    clis: tuple[Cli, ...]
    max_pods: int
    draining: bool
    online: bool
    seen_at: int
    created_at: int
    pod_count: int  #: attempts it works on; those that wait hold no slot

    @property
    def available(self) -> bool:
        """Tell whether it would take a run now."""
        return self.online and not self.draining and self.pod_count < self.max_pods

    def answers_to(self, name: str | int) -> bool:
        """Tell whether this names it: its number, its uid, or what it is called."""
        return str(name) in {str(self.id), self.uid, self.name}

    def offer(self, org_id: int) -> Offer:
        """Return what placements ask of it."""
        return Offer(
            org_id, self.no, frozenset(cli.engine.value for cli in self.clis), frozenset(self.labels), self.allowed_dirs
        )


async def register(org_id: int, body: Register) -> Registered:
    """Begin a new session of the runner with this uid; the same uid keeps its number. A live namesake is a Conflict."""
    if not body.allowed_dirs:
        raise BadRequest("allowed_dirs: name at least one directory this runner may work in", field="allowed_dirs")
    if org_id != PLATFORM and any(cli.engine == Engine.PROVIDER for cli in body.clis):
        raise BadRequest("clis: the engine provider is the platform's own", field="clis")
    session = new_token()
    for _ in range(_TRIES):
        with suppress(Duplicate):  # another new machine was given the number at the same time: there is a next one
            number = await decide(lambda hints: _register(org_id, body, session, hints))
            _cache.pop(org_id, None)
            return Registered(id=number, session=session)
    raise Unavailable


async def page(org_id: int, *, limit: int = _ALL, before: str | None = None, available: bool = False) -> list[Machine]:
    """Return the org's runners, or the available ones, newest first; `before` is a number or a uid, exclusive."""
    last = await _number(org_id, before) if before is not None else _ALL
    found = _MACHINES + " WHERE r.org_id = $1 AND r.number < $2"
    if available:
        found = f"SELECT * FROM ({found}) m WHERE online AND NOT draining AND pod_count < max_pods"  # noqa: S608
    rows = await database.fetch(f"{found} ORDER BY number DESC LIMIT $3", org_id, last, limit)
    return [_machine(row) for row in rows]


async def get(org_id: int, name: str | int) -> Machine:
    """Return the runner with this number or uid; NotFound if the org has none."""
    column, value = naming(name)
    rows = await database.fetch(_MACHINES + f" WHERE r.org_id = $1 AND r.{column} = $2", org_id, value)
    if not rows:
        raise NotFound(f"There is no runner {name} here")
    return _machine(rows[0])


async def runs_on(org_id: int, name: str | int, statuses: Sequence[str] = ()) -> tuple[int, int]:
    """Return the `no` of the runner with this number or uid, and how many runs it was given: in these states, or all.

    NotFound if the org has no such runner.
    """
    column, value = naming(name)
    which = f" AND status IN ({', '.join(f'${n}' for n, _ in enumerate(statuses, 3))})" if statuses else ""
    rows = await database.fetch(
        f"SELECT r.no, (SELECT count(*) FROM runs WHERE org_id = $1 AND runner_no = r.no{which}) AS runs "  # noqa: S608
        f"FROM runners r WHERE r.org_id = $1 AND r.{column} = $2",
        org_id, value, *statuses,
    )  # fmt: skip
    if not rows:
        raise NotFound(f"There is no runner {name} here")
    return rows[0]["no"], rows[0]["runs"]


async def _number(org_id: int, before: str) -> int:
    column, value = naming(before)
    rows = await database.fetch(f"SELECT number FROM runners WHERE org_id = $1 AND {column} = $2", org_id, value)  # noqa: S608
    if not rows:
        raise BadRequest(f"before: there is no runner {before} here", field="before")
    return int(rows[0]["number"])


def naming(name: str | int) -> tuple[str, str | int]:
    """Return the column and the value that a runner's name in a path means: its number, or its uid."""
    text = str(name)
    return ("number", int(text)) if _NUMBER.fullmatch(text) else ("uid", text)


def come_back(org_id: int, name: str | int, session: str) -> Unit[bool]:
    """Give a runner its place again that was silent for more than a day; tell whether it was.

    Raises Forbidden if its org's plan has none left: others may have come meanwhile.
    """
    column, value = naming(name)
    mine = f"org_id = $1 AND {column} = $2 AND session = $3"
    rows = yield sql(f"SELECT uid FROM runners WHERE {mine} AND NOT ({LATELY})", org_id, value, session)  # noqa: S608
    if not rows:
        return False
    yield from _take_place(org_id, rows[0]["uid"])
    yield sql(f"UPDATE runners SET seen_at = now_ms() WHERE {mine}", org_id, value, session)  # noqa: S608
    return True


async def consult(org_id: int, look: Callable[[Sequence[Machine]], T]) -> T:
    """Return what `look` makes of the org's runners; what it refuses, it refuses those that are there now."""
    try:
        return look(await known(org_id))
    except BadRequest:  # another server may have registered one since
        _cache.pop(org_id, None)
        return look(await known(org_id))


def listen() -> None:
    """Read the runners anew when another server has registered one."""

    def drop(org_id: bytes) -> None:
        _cache.pop(int(org_id), None)

    bus.current().listen(MACHINES, drop)


async def known(org_id: int) -> list[Machine]:
    """Return the org's runners, read at most once a second; for the launch, which asks at every run."""
    cached = _cache.get(org_id)
    if cached is None or cached[0] < time.monotonic():
        _cache[org_id] = cached = (time.monotonic() + _FRESH, await page(org_id))
    return cached[1]


async def names(runner_nos: Iterable[int | None]) -> dict[int, Machine]:
    """Return the runners with these inner numbers; the platform's own are nobody's to see."""
    wanted = ",".join({str(int(no)) for no in runner_nos if no is not None})
    if not wanted:
        return {}
    rows = await database.fetch(_MACHINES + f" WHERE r.no IN ({wanted}) AND r.org_id <> {PLATFORM}")
    return {row["no"]: _machine(row) for row in rows}


def forget() -> None:
    """Drop what was read; for a process that opens another database."""
    _cache.clear()


#: What makes a runner one that has its place in the plan.
LATELY = "seen_at > now_ms() - 86400000"
#: How many runners an org, `$1`, has had within a day; none if one of them is this one, `$2`, which has its place.
COUNT = (
    f"SELECT count(*) AS n FROM runners WHERE org_id = $1 AND {LATELY} AND NOT EXISTS "  # noqa: S608 - constants
    f"(SELECT 1 FROM runners WHERE org_id = $1 AND uid = $2 AND {LATELY})"
)
_cache: dict[int, tuple[float, list[Machine]]] = {}
_MACHINES = (
    f"SELECT r.*, r.seen_at > now_ms() - {_LEASE_MS} AS online, "  # noqa: S608 - a constant
    "(SELECT count(*) FROM runs h WHERE h.runner_no = r.no AND h.attempt_open AND h.status <> 'waiting') AS pod_count "
    "FROM runners r"
)


def _register(org_id: int, body: Register, session: str, hints: Hints) -> Unit[int]:
    rows = yield sql(
        "SELECT uid FROM runners WHERE org_id = $1 AND name = $2 AND uid <> $3 AND seen_at > now_ms() - $4",
        org_id, body.name, body.uid, _LEASE_MS,
    )  # fmt: skip
    if rows:
        raise Conflict(f"A live runner is already named {body.name!r}; choose another RUNNER_NAME", field="name")
    yield from _take_place(org_id, body.uid)
    known = yield sql("SELECT * FROM runners WHERE org_id = $1 AND uid = $2", org_id, body.uid)
    rows = yield sql(
        "INSERT INTO runners (org_id, number, uid, name, os, arch, version, labels, allowed_dirs, clis, max_pods, "
        "session, poll_no, draining, seen_at, created_at) "
        "VALUES ($1, (SELECT coalesce(max(number), 0) + 1 FROM runners WHERE org_id = $1), "
        "$2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, FALSE, now_ms(), now_ms()) "
        "ON CONFLICT (org_id, uid) DO UPDATE SET name = $3, os = $4, arch = $5, version = $6, labels = $7, "
        "allowed_dirs = $8, clis = $9, max_pods = $10, session = $11, poll_no = 0, draining = FALSE, "
        "seen_at = now_ms() RETURNING *",
        org_id, body.uid, body.name, body.os, body.arch, body.version, _json(sorted(set(body.labels))),
        _json(body.allowed_dirs), _json(body.clis), body.max_pods, session,
    )  # fmt: skip
    hints.runner(rows[0]["no"])
    hints.machines(org_id)
    if org_id != PLATFORM:
        yield from _note(org_id, rows[0], known[0] if known else None)
    yield from _replace(org_id, rows[0]["no"], body, hints)
    return int(rows[0]["number"])


def _take_place(org_id: int, uid: str) -> Unit[None]:
    if org_id != PLATFORM:
        yield from plans.within(org_id, "runners", COUNT, uid)


def _note(org_id: int, now: database.Row, before: database.Row | None) -> Unit[None]:
    """Write down a new runner, and one that offers something else than before. A mere restart is no change."""
    number = str(now["number"])
    if before is None:
        yield from audit.note(org_id, "runner.registered", "runner", number, **_told(now))
    elif changed := audit.changes(_told(before), _told(now)):
        yield from audit.note(org_id, "runner.changed", "runner", number, name=now["name"], **changed)


def _told(row: database.Row) -> dict[str, Any]:
    lists = {name: msgspec.json.decode(row[name]) for name in ("labels", "allowed_dirs")}
    return {"name": row["name"], "os": row["os"], "max_pods": row["max_pods"], **lists}


def _replace(org_id: int, runner_no: int, body: Register, hints: Hints) -> Unit[None]:
    """Give queued runs that this runner's directories cover a placement it can satisfy.

    A placement names the longest allowed directory known at the launch. A runner that comes later with a longer one
    would not cover that, although it covers the run's own directory.
    """
    rows = yield sql(
        "SELECT r.no, r.cwd, r.engine, r.labels, p.root, p.runner_no FROM runs r JOIN placements p "
        "ON p.id = r.placement_id WHERE r.org_id = $1 AND r.status = 'queued' AND NOT r.attempt_open "
        "AND (p.runner_no IS NULL OR p.runner_no = $2) ORDER BY r.no LIMIT 1000",
        org_id, runner_no,
    )  # fmt: skip
    for row in rows:
        mine = [d for d in body.allowed_dirs if covers(d, row["cwd"])]
        if mine and not any(covers(d, row["root"]) for d in mine):
            labels = msgspec.json.decode(row["labels"])
            placement = yield from placements.ensure(org_id, row["engine"], labels, row["runner_no"], row["cwd"])
            yield sql("UPDATE runs SET placement_id = $2 WHERE no = $1", row["no"], placement)
            hints.placement(placement)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _machine(row: database.Row) -> Machine:
    return Machine(
        no=row["no"], id=row["number"], uid=row["uid"], name=row["name"], os=row["os"], arch=row["arch"],
        version=row["version"], labels=tuple(msgspec.json.decode(row["labels"])),
        allowed_dirs=tuple(msgspec.json.decode(row["allowed_dirs"])),
        clis=tuple(msgspec.json.decode(row["clis"], type=list[Cli])), max_pods=row["max_pods"],
        draining=bool(row["draining"]), online=bool(row["online"]), seen_at=row["seen_at"],
        created_at=row["created_at"], pod_count=row["pod_count"],
    )  # fmt: skip
