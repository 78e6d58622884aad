"""How times, amounts and states read in the console; `assets/console/words.js` says them the same way."""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: A stored status as people say it.
STATUS_WORDS = {
    "queued": "Queued",
    "running": "Running",
    "waiting": "Waiting for you",
    "paused": "Paused",
    "completed": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


def rfc3339(ms: int) -> str:
    """Milliseconds since 1970 as `2026-11-22T14:02:11Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(ms: int) -> str:
    """How long a moment is past, in its largest unit."""
    seconds = max(0.0, time.time() - ms / 1000)
    if seconds < 5:
        return "now"
    if seconds < 60:
        return f"{int(seconds)} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 172_800:
        return f"{int(seconds // 3600)} h ago"
    return f"{int(seconds // 86_400)} d ago"


def until(ms: int) -> str:
    """How long a moment is still to come."""
    left = ms / 1000 - time.time()
    return duration(left) if left > 0 else "no time"


def duration(seconds: float) -> str:
    """A span of time in one or two units: `340 ms`, `8.2 s`, `1 m 48 s`, `23 h 59 m`, `6 d 4 h`."""
    if seconds < 1:
        return f"{round(max(0.0, seconds) * 1000)} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def money(usd: float | None) -> str:
    """A cost in dollars, to a tenth of a cent; a dash where nothing is known."""
    return "—" if usd is None else f"${usd:,.3f}"


def dollars(usd: float) -> str:
    """An amount in dollars and cents; less than a cent is not nothing."""
    return "<$0.01" if 0 < usd < 0.01 else f"${usd:,.2f}"


def exact_money(usd: float) -> str:
    """A cost in dollars to the millionth, as bills add up."""
    return f"${usd:,.6f}"


def tokens(count: int | None) -> str:
    """A number of tokens in three digits: `812`, `41.2k`, `1.3M`; a dash for none."""
    if not count:
        return "—"
    if count < 1000:
        return str(count)
    if count < 1_000_000:
        return f"{count / 1000:.1f}k"
    return f"{count / 1_000_000:.1f}M"


def number(count: int) -> str:
    """A whole number with thin spaces between its thousands."""
    return f"{count:,}".replace(",", "\N{THIN SPACE}")


def per_cent(part: float | None) -> str:
    """A part of a whole in per cent; a dash where there is no whole."""
    if part is None:
        return "—"
    if 0 < part < 0.01:
        return "< 1 %"
    return f"{int(part * 100) if 0.99 < part < 1 else round(part * 100)} %"
