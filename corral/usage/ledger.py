"""Lines of what was spent: added once, summed always."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from corral.platform import database
from corral.platform.database import Unit, many
from corral.usage.accounts import Account
from corral.wire.events import Usage
from corral.wire.prices import Book

MS_A_DAY = 86_400_000
#: What a line costs: as the CLI reported, else as computed.
COST = "coalesce(cost_micros, computed_micros, 0)"
_SUMMED = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cost_micros": COST,
    "reported_micros": "cost_micros",
}


SUMS = ", ".join(f"CAST(coalesce(sum({what}), 0) AS bigint) AS {name}" for name, what in _SUMMED.items())


class Totals(msgspec.Struct, frozen=True):
    """Sums of ledger lines."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_micros: int = 0  #: what counts: reported where the CLI did, computed elsewhere
    reported_micros: int = 0  #: the former alone

    @property
    def cost_usd(self) -> float:
        """Return the cost in US dollars."""
        return self.cost_micros / 1_000_000

    @property
    def tokens(self) -> int:
        """Return the sum of the four classes."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def asked_tokens(self) -> int:
        """Return the tokens that models were asked with."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def hit_rate(self) -> float | None:
        """Return the part of what models were asked with that came from their cache; None if they were not asked."""
        return self.cache_read_tokens / self.asked_tokens if self.asked_tokens else None


def sum_of(parts: Iterable[Totals]) -> Totals:
    """Return the sum of sums."""
    return Totals(*map(sum, zip(*map(msgspec.structs.astuple, parts), strict=True)))


#: Whom a line is for.
WHOM = ("agent_id", "team", "task_id", "tree_id", "epic_id", "key_id", "user_id", "labels")
_COLUMNS = (
    "org_id", "run_no", "run_id", "source", "day", "model", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens", "cost_micros", "computed_micros", "price_version", "estimated", "created_at", *WHOM,
)  # fmt: skip
_INSERT = (
    f"INSERT INTO usage_lines ({', '.join(_COLUMNS)}) "  # noqa: S608 - our columns
    f"VALUES ({', '.join(f'${n}' for n in range(1, len(_COLUMNS) + 1))}) ON CONFLICT (run_no, source) DO NOTHING"
)


class Spender(msgspec.Struct, frozen=True):
    """The run that lines are of."""

    org_id: int
    run_no: int
    run_id: str
    account: Account

    @property
    def whom(self) -> tuple[str | None, ...]:
        """Whom its lines are for, as WHOM."""
        it = self.account
        labels = msgspec.json.encode(it.labels).decode() if it.labels else None
        return it.agent_id, it.team, it.task_id, it.tree_id, it.epic_id, it.key_id, it.user_id, labels


def record(spender: Spender, lines: Sequence[Usage], book: Book, now: int) -> Unit[None]:
    """Add the lines that are not there yet; a source that is there keeps its first numbers."""
    day, whom = now // MS_A_DAY, spender.whom
    rows = []
    for line in lines:
        computed = book.cost(line, day)
        rows.append(
            (
                spender.org_id,
                spender.run_no,
                spender.run_id,
                line.source[:200],
                day,
                line.model[:100],
                line.input_tokens,
                line.output_tokens,
                line.cache_read_tokens,
                line.cache_write_tokens,
                line.cost_micros,
                computed,
                None if computed is None else book.version,
                line.estimated,
                now,
                *whom,
            )
        )
    yield many(_INSERT, rows)


class SoFar(Totals, frozen=True):
    """Sums of a run, its turn in progress included."""

    is_estimated: bool = False  #: some of it is of answers that are still being written, or were broken off


def so_far(runs: str) -> str:
    """Return a table of the lines and the drafts of runs, which `runs` says of `run_no` in SQL."""
    tokens = "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens"
    return (
        f"(SELECT run_no, model, {tokens}, cost_micros, computed_micros, estimated FROM usage_lines "  # noqa: S608 - ours
        f"WHERE run_no {runs} UNION ALL SELECT run_no, model, {tokens}, NULL, micros, TRUE FROM usage_drafts "
        f"WHERE run_no {runs} AND source <> '') AS so_far"
    )


async def newest(org_id: int) -> tuple[int, int] | None:
    """Return the id of the newest line and when it was recorded; None if there is none."""
    rows = await database.fetch(
        "SELECT id, created_at FROM usage_lines WHERE org_id = $1 ORDER BY id DESC LIMIT 1", org_id
    )
    return (rows[0]["id"], rows[0]["created_at"]) if rows else None


async def totals(run_nos: Iterable[int]) -> dict[int, SoFar]:
    """Return the sums of each run so far; a run that has used nothing is not in the answer."""
    wanted = ",".join(str(int(no)) for no in run_nos)
    if not wanted:
        return {}
    rows = await database.fetch(f"SELECT run_no, {_SO_FAR} FROM {so_far(f'IN ({wanted})')} GROUP BY run_no")  # noqa: S608
    return {row["run_no"]: _so_far(row) for row in rows}


async def by_model(run_no: int) -> dict[str, SoFar]:
    """Return the sums of one run so far, for each model it used."""
    rows = await database.fetch(
        f"SELECT model, {_SO_FAR} FROM {so_far('= $1')} GROUP BY model ORDER BY model",  # noqa: S608 - our words
        run_no,
    )
    return {row["model"]: _so_far(row) for row in rows}


_SO_FAR = f"{SUMS}, max(CASE WHEN estimated THEN 1 ELSE 0 END) AS is_estimated"


def totals_of(row: database.Row) -> Totals:
    """Return the sums of a row of SUMS."""
    return Totals(*(row[name] for name in Totals.__struct_fields__))


def _so_far(row: database.Row) -> SoFar:
    sums = {name: row[name] for name in Totals.__struct_fields__}
    return SoFar(**sums, is_estimated=bool(row["is_estimated"]))


class Line(msgspec.Struct, frozen=True):
    """One line, as it was recorded."""

    id: int
    created_at: int
    run_id: str | None
    source: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_micros: int | None  #: as reported
    computed_micros: int | None
    price_version: int | None
    estimated: bool
    agent_id: str | None
    team: str | None
    task_id: str | None
    epic_id: str | None
    key_id: str | None
    user_id: str | None
    labels: str | None

    @property
    def counted_micros(self) -> int:
        """What it costs in sums."""
        return self.cost_micros if self.cost_micros is not None else self.computed_micros or 0


async def page(org_id: int, where: str, args: Sequence[object], *, limit: int, before: int | None = None) -> list[Line]:
    """Return lines, newest first, that meet conditions whose placeholders begin with $4."""
    rows = await database.scan(
        f"SELECT {', '.join(Line.__struct_fields__)} FROM usage_lines "  # noqa: S608 - our columns
        f"WHERE org_id = $1 AND id < $2{where} ORDER BY id DESC LIMIT $3",
        org_id,
        before if before is not None else 2**63 - 1,
        limit,
        *args,
    )
    return [msgspec.structs.replace(Line(*row), estimated=bool(row["estimated"])) for row in rows]
