"""What the answers of a turn in progress have used, until the turn's own lines say so: the cost so far is both."""

from __future__ import annotations

from corral.platform import database
from corral.platform.database import Unit, many, sql
from corral.usage.ledger import MS_A_DAY, WHOM, Spender
from corral.wire.events import Drafts
from corral.wire.prices import Book

_COLUMNS = (
    "org_id", "run_no", "run_id", "told", "source", "model", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens", "micros", *WHOM,
)  # fmt: skip
_INSERT = (
    f"INSERT INTO usage_drafts ({', '.join(_COLUMNS)}) "  # noqa: S608 - our columns
    f"VALUES ({', '.join(f'${n}' for n in range(1, len(_COLUMNS) + 1))}) ON CONFLICT (run_no, source) DO NOTHING"
)
#: The row that counts nothing and says what was told last. It comes with the first drafts, and goes with the attempt.
_TELL = (
    "INSERT INTO usage_drafts (org_id, run_no, run_id, told, source, model, input_tokens, output_tokens, "
    "cache_read_tokens, cache_write_tokens, micros) VALUES ($1, $2, $3, $4, '', '', 0, 0, 0, 0, 0) "
    "ON CONFLICT (run_no, source) DO UPDATE SET told = $4 WHERE usage_drafts.told < $4 RETURNING id"
)


def replace(spender: Spender, drafts: Drafts, book: Book, now: int) -> Unit[None]:
    """Let these take the place of what was told before; what comes twice, or late, changes nothing."""
    run = (spender.org_id, spender.run_no, spender.run_id, drafts.at)
    if not (yield sql(_TELL, *run)):
        return
    yield sql("DELETE FROM usage_drafts WHERE run_no = $1 AND source <> ''", spender.run_no)
    if drafts.lines:
        rows = [
            (
                *run,
                line.source[:200],
                line.model[:100],
                line.input_tokens,
                line.output_tokens,
                line.cache_read_tokens,
                line.cache_write_tokens,
                book.counted([line], now // MS_A_DAY),
                *spender.whom,
            )
            for line in drafts.lines
        ]
        yield many(_INSERT, rows)


async def spending(org_id: int) -> int:
    """Return what runs under way are known to have spent beyond their lines, in millionths of a dollar."""
    rows = await database.fetch("SELECT coalesce(sum(micros), 0) AS micros FROM usage_drafts WHERE org_id = $1", org_id)
    return int(rows[0]["micros"])
