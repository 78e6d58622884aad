"""May a run spend? Every hard budget over it keeps some money for each run that may be at work, and starts no more of
them than it has money for.

What is kept is a row (`reservations`), which counts for as long as its run is ready, claimed or at work: nothing has to
be given back when a run ends, whoever ends it. It is decided under the locks of all budgets that are over the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache

import msgspec

from corral.platform import database
from corral.platform.database import Row, Rows, Unit, alone, many, sql
from corral.runs import places
from corral.runs.hints import Hints
from corral.usage import accounts, budgets, meter
from corral.usage.accounts import Account
from corral.usage.budgets import CENT, Budget, Whose
from corral.wire.runs import RunStatus

#: How a hold begins that a budget is the reason of, and the code of a pause.
HELD, CODE = "budget ", "budget"
#: Characters of a hold.
LONGEST = 200
#: How often budgets are looked at whose sums others drop meanwhile.
_LOOKS = 3

#: What is kept for which runs, the most urgent first.
_KEPT = (
    "SELECT v.attempt AS told, v.base_micros, v.granted_micros, r.no, r.id, r.org_id, r.status, r.attempt, "
    "r.attempt_open, r.hold, r.reason, r.pause_requested, r.account, r.agent_id, r.task_id, r.runner_no "
    "FROM reservations v JOIN runs r ON r.no = v.run_no WHERE v.org_id = $1 ORDER BY r.priority DESC, r.no"
)


_HELD = (
    "SELECT id, account, agent_id FROM runs WHERE org_id = $1 AND status = 'queued' "  # noqa: S608 - a constant
    f"AND hold LIKE '{HELD}%'"
)


class Kept(msgspec.Struct):
    """What is kept for a run."""

    run: Row
    account: Account
    whose: frozenset[Whose]  #: whose budgets are over it
    told: int  #: the attempt that knows what it may spend; 0: none does
    base: int
    granted: int
    spent: int  #: by the run, in all

    @property
    def status(self) -> RunStatus:
        """The run's state."""
        return RunStatus(self.run["status"])

    @property
    def used(self) -> int:
        """What it has spent of it."""
        return max(0, self.spent - self.base)

    @property
    def is_live(self) -> bool:
        """Whether the run may spend it: it is ready, or has a process."""
        return bool(self.run["attempt_open"]) or (self.status == RunStatus.QUEUED and self.run["hold"] is None)

    @property
    def reserved(self) -> int:
        """What is still kept."""
        return max(0, self.granted - self.used) if self.is_live else 0

    @property
    def is_held(self) -> bool:
        """Whether a budget keeps it from being claimed."""
        return self.status == RunStatus.QUEUED and (self.run["hold"] or "").startswith(HELD)

    @property
    def is_paused(self) -> bool:
        """Whether a budget has paused it."""
        return is_paused(self.run)


def is_paused(run: Row) -> bool:
    """Tell whether a budget has paused a run."""
    reason = run["reason"] if run["status"] == RunStatus.PAUSED else None
    return reason is not None and msgspec.json.decode(reason).get("code") == CODE


class Standing(msgspec.Struct):
    """How a budget stands at a moment."""

    budget: Budget
    now: int
    spent: int
    reserved: int  #: for runs that may spend it; grows with what is lent on
    paused: int = 0
    held: int = 0

    @property
    def room(self) -> int:
        """What it can still lend."""
        return self.budget.limit_micros - self.spent - self.reserved


class Books(msgspec.Struct):
    """How all hard budgets over a run, or of an org, stand; and what is kept for whom."""

    standings: list[Standing]
    kept: list[Kept]
    uncounted: list[Budget]  #: whose sums are still being made
    spent: dict[int, int]  #: by each of these runs in all

    def over(self, account: Account) -> list[Standing]:
        """Return those that are over a run with this account."""
        mine = set(budgets.whose(account))
        return [standing for standing in self.standings if standing.budget.whose in mine]

    def of(self, run_no: int) -> Kept | None:
        """Return what is kept for a run."""
        return next((one for one in self.kept if one.run["no"] == run_no), None)

    def lend(self, account: Account, spent: int, *, own: int = 0, least: int | None = None) -> int | str:
        """Lend to a run that has spent so much in all, and that `own` of what is kept is for; or say why not.

        It is lent a slice at first and then, so that it needn't come back after every answer, as much as it has spent.
        """
        over = self.over(account)
        for budget in self.uncounted:
            if budget.whose in set(budgets.whose(account)):
                return f"{HELD}{budget.name}: what it has spent is being counted"
        for standing in over:
            if standing.room + own < (standing.budget.slice if least is None else least):
                return refusal(standing)
        wishes = (min(one.budget.most, max(one.budget.slice, spent), one.room + own) for one in over)
        lent = min(wishes, default=0)
        for standing in over:
            standing.reserved += lent - own
        return lent

    def take_back(self, kept: Kept) -> None:
        """Keep less for a run, so that none of its budgets has lent more than there is, if that can be."""
        over = self.over(kept.account)
        taken = min(kept.reserved, max(-standing.room for standing in over))
        kept.granted -= taken
        for standing in over:
            standing.reserved -= taken


def refusal(standing: Standing) -> str:
    """Say why a budget lends nothing, in the words of a hold and of a pause."""
    budget = standing.budget
    if standing.spent >= budget.limit_micros:
        return f"{HELD}{budget.name}: all of its {budget.told()} is spent"
    if standing.reserved and standing.spent + CENT <= budget.limit_micros:
        return f"{HELD}{budget.name}: what is left of its {budget.told()} is kept for runs under way"
    return f"{HELD}{budget.name}: too little is left of its {budget.told()} for a run to go on"


def is_limited(run: Row) -> bool:
    """Tell whether a hard budget is over a run; without a statement."""
    return bool(budgets.over(run["org_id"], _account(run)))


def admit(org_id: int, run_no: int, account: Account) -> Unit[str | None]:
    """Keep money and a place for a run that is to become ready, or say what it must wait for.

    Without budgets, and plans that limit runs: no statement.
    """
    over = budgets.over(org_id, account)
    if over:
        books = yield from open_books(org_id, over, run_no)
        kept, spent = books.of(run_no), books.spent[run_no]
        own = kept.reserved if kept is not None else 0
        lent = books.lend(account, spent, own=own)
        yield from keep(org_id, run_no, base=spent, granted=lent if isinstance(lent, int) else 0)
        if isinstance(lent, str):
            return lent
    return (yield from places.full(org_id, run_no))


def settle(run: Row, hints: Hints) -> Unit[Rows]:
    """Make a queued run that is nobody's ready, or let it say what it waits for; return its row."""
    why = yield from admit(run["org_id"], run["no"], accounts.decode(run["account"]))
    rows = yield sql(
        "UPDATE runs SET hold = $2 WHERE no = $1 AND status = 'queued' AND NOT attempt_open RETURNING *",
        run["no"],
        why[:LONGEST] if why is not None else None,
    )
    if rows and why is None:
        hints.placement(run["placement_id"])
    return rows


def keep(org_id: int, run_no: int, *, base: int, granted: int, told: int = 0) -> Unit[None]:
    """Write down what is kept for a run."""
    yield sql(
        "INSERT INTO reservations (run_no, org_id, attempt, base_micros, granted_micros) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (run_no) DO UPDATE SET attempt = $3, base_micros = $4, granted_micros = $5",
        run_no, org_id, told, base, granted,
    )  # fmt: skip


def fund(run: Row) -> Unit[int | str | None]:
    """Return what an attempt that was claimed may spend in all, or why it may not begin; None: as much as it likes."""
    org_id, account = run["org_id"], _account(run)
    over = budgets.over(org_id, account)
    if not over:
        return None
    books = yield from open_books(org_id, over, run["no"])
    if not books.standings and not books.uncounted:
        return None
    kept, spent = books.of(run["no"]), books.spent[run["no"]]
    if kept is not None and kept.told == run["attempt"]:
        return kept.granted  # told before, and not heard
    own = kept.reserved if kept is not None else 0
    lent = books.lend(account, spent, own=own, least=CENT if own else None)
    if isinstance(lent, str):
        yield from keep(org_id, run["no"], base=spent, granted=0)
    else:
        yield from keep(org_id, run["no"], base=spent, granted=lent, told=run["attempt"])
    return lent


def open_books(org_id: int, over: Sequence[Budget], *run_nos: int) -> Unit[Books]:
    """Take the locks of these budgets, and find out how they stand, and what these runs have spent."""
    locked, now = yield from budgets.lock(over)
    return (yield from read(org_id, [budget for budget in locked if budget.hard], now, *run_nos))


def read(org_id: int, some: Sequence[Budget], now: int, *run_nos: int) -> Unit[Books]:
    """Return how budgets stand, and what these runs have spent.

    What is kept is read first: a line that is written meanwhile makes a budget look fuller than it is, never emptier.
    """
    rows = yield alone(_KEPT, org_id)
    spent, by_run = yield from meter.spent(org_id, some, {*run_nos, *(row["no"] for row in rows)}, now)
    kept = [_of(row, by_run[row["no"]]) for row in rows]
    reserved = Counter[Whose]()
    for one in kept:
        if one.reserved:
            reserved.update(dict.fromkeys(one.whose, one.reserved))
    standings = [
        Standing(budget, now, spent[budget.no], reserved[budget.whose] if budget.hard else 0)
        for budget in some
        if budget.no in spent
    ]
    return Books(standings, kept, [budget for budget in some if budget.no not in spent], by_run)


async def look(org_id: int, some: Sequence[Budget]) -> list[Standing]:
    """Return how budgets stand right now, and what they have stopped."""
    for _ in range(_LOOKS):
        now = await meter.count(org_id, some)
        books = await database.commit(read(org_id, some, now))
        if not books.uncounted:  # else somebody counted meanwhile who does not know of it, or not any more
            break
    full = [standing for standing in books.standings if standing.budget.hard and standing.room < standing.budget.slice]
    if full:
        held = Counter[Whose]()
        for row in await database.fetch(_HELD, org_id):
            held.update(budgets.whose(_account(row)))
        paused = Counter(whose for one in books.kept if one.is_paused for whose in one.whose)
        for standing in full:
            standing.held, standing.paused = held[standing.budget.whose], paused[standing.budget.whose]
    return books.standings


async def stopped(budget: Budget) -> list[str]:
    """Return the ids of the runs that budgets over them keep from going on, of one budget: the paused ones first."""
    paused = [row for row in await database.fetch(_KEPT, budget.org_id) if is_paused(row)]
    held = await database.fetch(_HELD, budget.org_id)
    return [row["id"] for row in (*paused, *held) if budget.whose in budgets.whose(_account(row))]


def begin(org_id: int, run_nos: Collection[int], now: int) -> Unit[None]:
    """Keep nothing yet for runs that are at work, but count what they spend from here on."""
    _, spent = yield from meter.spent(org_id, (), run_nos, now)
    yield many(
        "INSERT INTO reservations (run_no, org_id, attempt, base_micros, granted_micros) VALUES ($1, $2, 0, $3, 0) "
        "ON CONFLICT (run_no) DO NOTHING",
        [(run_no, org_id, micros) for run_no, micros in spent.items()],
    )


def _of(row: Row, spent: int) -> Kept:
    account, whose = _decoded(row["account"], row["agent_id"])
    return Kept(
        run=row,
        account=account,
        whose=whose,
        told=row["told"],
        base=row["base_micros"],
        granted=row["granted_micros"],
        spent=spent,
    )


def _account(run: Row) -> Account:
    return _decoded(run["account"], run["agent_id"])[0]


@lru_cache(maxsize=4096)
def _decoded(text: str | None, agent_id: str | None) -> tuple[Account, frozenset[Whose]]:
    account = accounts.decode(text, agent_id)
    return account, frozenset(budgets.whose(account))
