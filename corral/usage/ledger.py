"""Lines of what was spent: added once, summed always."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from corral.platform import database
from corral.platform.database import Unit, many
from corral.wire.events import Usage

MS_A_DAY = 86_400_000
SUMS = (
    "coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(output_tokens), 0) AS output_tokens, "
    "coalesce(sum(cache_read_tokens), 0) AS cache_read_tokens, "
    "coalesce(sum(cache_write_tokens), 0) AS cache_write_tokens, coalesce(sum(cost_micros), 0) AS cost_micros"
)


class Totals(msgspec.Struct, frozen=True):
    """Sums of ledger lines."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_micros: int = 0

    @property
    def cost_usd(self) -> float:
        """Return the cost in US dollars."""
        return self.cost_micros / 1_000_000

    @property
    def tokens(self) -> int:
        """Return the sum of the four classes."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


def record(org_id: int, run_no: int, agent_id: str | None, lines: Sequence[Usage], now: int) -> Unit[None]:
    """Add the lines that are not there yet; a source that is there keeps its first numbers."""
    yield many(
        "INSERT INTO usage_lines (org_id, run_no, agent_id, source, day, model, input_tokens, output_tokens, "
        "cache_read_tokens, cache_write_tokens, cost_micros, estimated, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (run_no, source) DO NOTHING",
        [
            (
                org_id, run_no, agent_id, line.source[:200], now // MS_A_DAY, line.model[:100], line.input_tokens,
                line.output_tokens, line.cache_read_tokens, line.cache_write_tokens, line.cost_micros, line.estimated,
                now,
            )
            for line in lines
        ],
    )  # fmt: skip


async def totals(run_nos: Iterable[int]) -> dict[int, Totals]:
    """Return the sums of each run; a run without lines is not in the answer."""
    wanted = ",".join(str(int(no)) for no in run_nos)
    if not wanted:
        return {}
    rows = await database.fetch(
        f"SELECT run_no, {SUMS} FROM usage_lines WHERE run_no IN ({wanted}) GROUP BY run_no"  # noqa: S608 - integers
    )
    return {row["run_no"]: totals_of(row) for row in rows}


async def by_model(run_no: int) -> dict[str, Totals]:
    """Return the sums of one run for each model it used."""
    rows = await database.fetch(
        f"SELECT model, {SUMS} FROM usage_lines WHERE run_no = $1 GROUP BY model ORDER BY model",  # noqa: S608
        run_no,
    )
    return {row["model"]: totals_of(row) for row in rows}


def totals_of(row: database.Row) -> Totals:
    """Return the sums of a row of SUMS."""
    return Totals(*(int(row[name]) for name in Totals.__struct_fields__))
