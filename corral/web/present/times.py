"""Times as the faces show them."""

from __future__ import annotations

from corral.runs.frames import moment


def shown(ms: int | None) -> str | None:
    """Return a time of a table in RFC 3339, UTC."""
    return None if ms is None else moment(ms)
