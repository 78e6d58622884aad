"""What an org, a team, an agent, a tree of tasks or a key may spend: set by people, known to every process by heart.

Whether a budget is over a run is asked with every launch, so that it must cost nothing: a process keeps all of them,
and rereads them each second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from corral.base.errors import BadRequest, Conflict, NotFound
from corral.base.ids import is_id
from corral.platform import audit, database
from corral.platform.database import Duplicate, Row, Rows, Unit, commit, fetch, sql
from corral.usage import periods
from corral.usage.accounts import Account
from corral.usage.periods import Span

ORG, TEAM, AGENT, TASK, KEY = "org", "team", "agent", "task", "key"
TOTAL = "total"
#: What a run is lent at first: a dollar, or a tenth of the budget if that is less, but not nothing.
DOLLAR, CENT = 1_000_000, 10_000

#: Whose budget it is: scope and target.
Whose = tuple[str, str]


class Budget(msgspec.Struct, frozen=True):
    """A budget as it was set."""

    no: int
    id: str
    org_id: int
    scope: str
    target: str
    name: str
    limit_micros: int
    period: str
    tz: str
    hard: bool
    created_by: str
    created_at: int
    updated_at: int

    @property
    def whose(self) -> Whose:
        """Whose it is."""
        return self.scope, self.target

    @property
    def slice(self) -> int:
        """What a run is lent at first."""
        return max(CENT, min(DOLLAR, self.limit_micros // 10))

    @property
    def most(self) -> int:
        """What a run is lent at most at a time, however much it has spent already."""
        return max(CENT, self.limit_micros // 4)

    def span(self, now: int) -> Span | None:
        """Return its present period; None if that has no end."""
        return periods.present(self.period, periods.zone(self.tz), now)

    def began(self, now: int) -> int:
        """Return when its present period began, in ms."""
        span = self.span(now)
        return span.began if span is not None else 0

    def told(self) -> str:
        """Return what it is, for people: `$5.00 a day`."""
        dollars = f"${self.limit_micros / 1_000_000:,.2f}"
        return f"{dollars} in all" if self.period == TOTAL else f"{dollars} a {self.period}"


_COLUMNS = ", ".join(Budget.__struct_fields__)
_HARD = Budget.__struct_fields__.index("hard")

#: org → whose → budgets, as they were within the last second or two.
_known: dict[int, dict[Whose, list[Budget]]] = {}


async def reread(_now: float = 0) -> None:
    """Learn all budgets anew. A loop of every server."""
    rows = await fetch(f"SELECT {_COLUMNS} FROM budgets ORDER BY no")  # noqa: S608 - our columns
    found: dict[int, dict[Whose, list[Budget]]] = {}
    for budget in map(from_row, rows):
        found.setdefault(budget.org_id, {}).setdefault(budget.whose, []).append(budget)
    _known.clear()
    _known.update(found)


def forget() -> None:
    """Drop what this process knows, because the database behind it is another one now."""
    _known.clear()


def orgs() -> list[int]:
    """Return the orgs that have budgets."""
    return list(_known)


def known(org_id: int) -> list[Budget]:
    """Return the org's budgets, oldest first."""
    found = [budget for some in _known.get(org_id, {}).values() for budget in some]
    return sorted(found, key=lambda budget: budget.no)


def whose(account: Account) -> Iterator[Whose]:
    """Yield whose budgets are over a run with this account."""
    yield ORG, ""
    for scope, target in (
        (TEAM, account.team),
        (AGENT, account.agent_id),
        (TASK, account.tree_id),
        (KEY, account.key_id),
    ):
        if target is not None:
            yield scope, target


def over(org_id: int, account: Account) -> list[Budget]:
    """Return the hard budgets over a run with this account, oldest first; without a statement."""
    mine = _known.get(org_id)
    if mine is None:
        return []
    found = [budget for one in whose(account) for budget in mine.get(one, ()) if budget.hard]
    return sorted(found, key=lambda budget: budget.no)


def lock(some: Sequence[Budget]) -> Unit[tuple[list[Budget], int]]:
    """Let nobody else lend from these until the commit; return them as they are now, and the database's time."""
    if not some:
        return [], 0
    numbers = ",".join(str(budget.no) for budget in some)
    for_update = "" if database.dialect() == "sqlite" else " FOR UPDATE"
    rows: Rows = yield sql(
        f"SELECT {_COLUMNS}, now_ms() AS now FROM budgets WHERE no IN ({numbers}) ORDER BY no{for_update}"  # noqa: S608
    )
    return [from_row(row) for row in rows], rows[0]["now"] if rows else 0


async def page(org_id: int, *, limit: int = 1000, before: str | None = None) -> list[Budget]:
    """Return the org's budgets, newest first; `before` is a budget's id, exclusive."""
    last = (await get(org_id, before, field="before")).no if before is not None else 1 << 62
    rows = await fetch(
        f"SELECT {_COLUMNS} FROM budgets WHERE org_id = $1 AND no < $2 ORDER BY no DESC LIMIT $3",  # noqa: S608
        org_id, last, limit,
    )  # fmt: skip
    return [from_row(row) for row in rows]


async def get(org_id: int, budget_id: str, *, field: str | None = None) -> Budget:
    """Return one budget; NotFound, or BadRequest about `field` where its id was part of a query."""
    query = f"SELECT {_COLUMNS} FROM budgets WHERE org_id = $1 AND id = $2"  # noqa: S608
    rows = await fetch(query, org_id, budget_id) if is_id(budget_id) else ()
    if rows:
        return from_row(rows[0])
    if field is not None:
        raise BadRequest(f"{field}: there is no budget {budget_id} here", field=field)
    raise unknown(budget_id)


async def create(org_id: int, budget_id: str, by: str, fields: Mapping[str, Any]) -> Budget:
    """Add a budget; the same id twice is the same budget. Conflict if whose it is has one for this period."""
    _check(fields)
    columns = {"id": budget_id, "org_id": org_id, "created_by": by, **fields}
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))

    def unit() -> Unit[None]:
        try:
            made = yield sql(
                f"INSERT INTO budgets ({', '.join(columns)}, created_at, updated_at) "  # noqa: S608 - our columns
                f"VALUES ({marks}, now_ms(), now_ms()) ON CONFLICT (id) DO NOTHING RETURNING no",
                *columns.values(),
            )
        except Duplicate as error:
            raise _taken(fields["period"]) from error
        if made:
            yield from audit.note(org_id, "budget.created", "budget", budget_id, **_dollars(fields))

    await commit(unit())
    await reread()
    return await get(org_id, budget_id)


async def update(org_id: int, budget_id: str, fields: Mapping[str, Any]) -> Budget:
    """Change some fields: name, limit_micros, period, tz, hard."""
    _check(fields)
    sets = "".join(f", {column} = ${n}" for n, column in enumerate(fields, 2))

    def unit() -> Unit[None]:
        rows = yield sql(
            f"UPDATE budgets SET hard = hard WHERE org_id = $1 AND id = $2 RETURNING {_COLUMNS}",  # noqa: S608
            org_id,
            budget_id,
        )
        if not rows:
            raise unknown(budget_id)
        before = _dollars(msgspec.structs.asdict(from_row(rows[0])))
        try:
            yield sql(f"UPDATE budgets SET updated_at = now_ms(){sets} WHERE id = $1", budget_id, *fields.values())  # noqa: S608
        except Duplicate as error:
            raise _taken(fields["period"]) from error
        if changed := audit.changes(before, _dollars(fields)):
            yield from audit.note(org_id, "budget.changed", "budget", budget_id, name=before["name"], **changed)

    await get(org_id, budget_id)
    await commit(unit())
    await reread()
    return await get(org_id, budget_id)


async def remove(org_id: int, budget_id: str) -> None:
    """Delete a budget and what was told of it."""
    budget = await get(org_id, budget_id)

    def unit() -> Unit[None]:
        gone = yield sql("DELETE FROM budgets WHERE no = $1 RETURNING no", budget.no)
        if gone:
            told = {"name": budget.name, "scope": budget.scope, "target": budget.target, "was": budget.told()}
            yield from audit.note(org_id, "budget.deleted", "budget", budget_id, **told)
        yield sql("DELETE FROM budget_alerts WHERE budget_no = $1", budget.no)

    await commit(unit())
    await reread()


def from_row(row: Row) -> Budget:
    """Return the budget of a row."""
    values: list[Any] = [row[name] for name in Budget.__struct_fields__]
    values[_HARD] = bool(values[_HARD])
    return Budget(*values)


def _dollars(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as people are told them."""
    told = {name: value for name, value in fields.items() if name != "limit_micros"}
    return {**told, "limit_usd": fields["limit_micros"] / 1_000_000} if "limit_micros" in fields else told


def _check(fields: Mapping[str, Any]) -> None:
    if "tz" in fields:
        periods.zone(fields["tz"])


def unknown(budget_id: str) -> NotFound:
    """Return the error of a budget that is not there, or not any more."""
    return NotFound(f"There is no budget {budget_id} here")


def _taken(period: str) -> Conflict:
    what = "in all" if period == TOTAL else f"for each {period}"
    return Conflict(f"There is a budget of the same {what} already: change that one", field="period")
