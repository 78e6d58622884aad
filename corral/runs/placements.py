"""Where may a run go? Runs with the same needs share a placement; a runner claims by those it satisfies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from corral.base.paths import covers
from corral.platform import database
from corral.platform.database import Row, Unit, alone, sql
from corral.wire.runs import Engine

#: The org of the platform's own runner rows: one for each process that executes provider agents, of every org.
PLATFORM = 0


class Placement(msgspec.Struct, frozen=True):
    """What a runner must have to execute a run."""

    id: int
    org_id: int
    engine: str
    labels: frozenset[str]
    runner_no: int | None  #: only this one, if set
    root: str  #: one of its allowed directories must cover this


class Offer(msgspec.Struct, frozen=True):
    """What a runner has, as far as placements ask. The platform's own, of no org, executes what needs no machine."""

    org_id: int
    runner_no: int
    engines: frozenset[str]
    labels: frozenset[str]
    allowed_dirs: tuple[str, ...]

    def satisfies(self, placement: Placement) -> bool:
        """Tell whether this runner may execute the runs of `placement`."""
        return (
            (placement.org_id == self.org_id or (self.org_id == PLATFORM and placement.engine == Engine.PROVIDER))
            and placement.runner_no in {None, self.runner_no}
            and placement.engine in self.engines
            and placement.labels <= self.labels
            and any(covers(allowed, placement.root) for allowed in self.allowed_dirs)
        )


#: Placements never change, so what was read once stays true. Bounded by how many there are: few for each runner.
_known: dict[int, Placement] = {}
_ids: dict[tuple[object, ...], int] = {}
_of_org: dict[int, list[int]] = {}


def ensure(org_id: int, engine: str, labels: Sequence[str], runner_no: int | None, root: str) -> Unit[int]:
    """Return the id of the placement with these needs; make it if there is none yet."""
    if found := _ids.get((org_id, engine, *labels, runner_no, root)):
        return found
    key = hashlib.sha256(msgspec.json.encode([engine, sorted(labels), runner_no, root])).hexdigest()
    yield sql(
        "INSERT INTO placements (org_id, key, engine, labels, runner_no, root) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (org_id, key) DO NOTHING",
        org_id, key, engine, msgspec.json.encode(sorted(labels)).decode(), runner_no, root,
    )  # fmt: skip
    rows = yield sql("SELECT id FROM placements WHERE org_id = $1 AND key = $2", org_id, key)
    return int(rows[0]["id"])


def home(run: Row, session_id: str | None) -> Unit[int]:
    """Return the placement of the next attempt: with a session of a CLI, only the machine that has it will do."""
    if session_id is None or run["engine"] == Engine.PROVIDER:
        return int(run["placement_id"])
    labels: list[str] = msgspec.json.decode(run["labels"])
    return (yield from ensure(run["org_id"], run["engine"], labels, run["runner_no"], run["cwd"]))


async def remember(org_id: int, engine: str, labels: Sequence[str], runner_no: int | None, root: str) -> None:
    """Make sure the placement exists, so that launching into it costs nothing more."""
    needs = (org_id, engine, *labels, runner_no, root)
    if needs not in _ids:
        _ids[needs] = await database.commit(ensure(org_id, engine, labels, runner_no, root))


def satisfied_by(offer: Offer, count: int | None = None) -> Unit[list[int]]:
    """Return the ids of the org's placements that this runner satisfies; `count` is how many the org has, if known."""
    ids = _of_org.get(offer.org_id, [])
    if len(ids) != count:
        mine = "engine = 'provider'" if offer.org_id == PLATFORM else f"org_id = {int(offer.org_id)}"
        rows = yield alone(f"SELECT id FROM placements WHERE {mine}")  # noqa: S608 - a constant or a number
        ids = [row["id"] for row in rows]
        missing = [placement_id for placement_id in ids if placement_id not in _known]
        if missing:
            yield from _read(missing)
        _of_org[offer.org_id] = ids
    return [placement_id for placement_id in ids if offer.satisfies(_known[placement_id])]


def cached(placement_id: int) -> Placement | None:
    """Return a placement if this process has read it."""
    return _known.get(placement_id)


async def get(placement_id: int) -> Placement | None:
    """Return a placement, read at most once in a process."""
    if placement_id not in _known:
        await database.commit(_read([placement_id]))
    return _known.get(placement_id)


def forget() -> None:
    """Drop what was read; for a process that opens another database."""
    _known.clear()
    _ids.clear()
    _of_org.clear()


def _read(ids: Sequence[int]) -> Unit[None]:
    wanted = ",".join(str(int(i)) for i in ids)
    rows = yield alone(
        f"SELECT id, org_id, engine, labels, runner_no, root FROM placements WHERE id IN ({wanted})"  # noqa: S608
    )
    for row in rows:
        _known[row["id"]] = Placement(
            row["id"], row["org_id"], row["engine"], frozenset(msgspec.json.decode(row["labels"])), row["runner_no"],
            row["root"],
        )  # fmt: skip
