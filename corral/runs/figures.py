"""How much there is to do: counted now and then from the rows, of one org or of all, never at somebody's request alone.

Only what has not ended is counted, by the indexes that the queue has anyway: a million finished runs cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from corral.platform import database
from corral.runs.claim import READY
from corral.wire.runner import LEASE_SECONDS

_LEASE_MS = int(LEASE_SECONDS * 1000)


@dataclass(frozen=True, slots=True)
class Figures:
    """The counts, as they were when they were taken."""

    runs: Mapping[str, int] = field(default_factory=dict)  #: by status, those that have not ended
    ready: int = 0  #: queued ones that a runner may take
    oldest_ms: int = 0  #: how long the first of them has waited
    approvals: int = 0  #: questions that wait for a person
    online: int = 0  #: machines
    draining: int = 0  #: of those
    offline: int = 0
    slots: int = 0  #: runs that the ones online may have at a time


#: Of all orgs, for the metrics; None until they were counted once.
latest: Figures | None = None


async def reread(_now: float) -> None:
    """Count for the metrics."""
    global latest  # noqa: PLW0603 - of this process
    latest = await count()


async def count(org_id: int | None = None) -> Figures:
    """Count what an org has to do, or all of them."""
    args = [] if org_id is None else [org_id]
    mine = "" if org_id is None else " AND org_id = $1"
    runs = await database.scan(_BY_STATUS.format(orgs="" if org_id is None else " WHERE o.id = $1"), *args)
    ready = await database.scan(
        f"SELECT count(*) AS n, now_ms() - min(updated_at) AS oldest FROM runs WHERE {READY}{mine}",  # noqa: S608
        *args,
    )
    asked = await database.scan(f"SELECT count(*) AS n FROM approvals WHERE status = 'pending'{mine}", *args)  # noqa: S608
    machines = await database.scan(
        f"SELECT coalesce(sum(online), 0) AS online, coalesce(sum(online * draining), 0) AS draining, "  # noqa: S608
        "coalesce(sum(1 - online), 0) AS offline, coalesce(sum(online * max_pods), 0) AS slots FROM ("
        f"SELECT CASE WHEN seen_at >= now_ms() - {_LEASE_MS} THEN 1 ELSE 0 END AS online, "
        f"CASE WHEN draining THEN 1 ELSE 0 END AS draining, max_pods FROM runners WHERE org_id <> 0{mine}) AS m",
        *args,
    )
    return Figures(
        runs={row["status"]: int(row["n"] or 0) for row in runs},
        ready=int(ready[0]["n"]),
        oldest_ms=int(ready[0]["oldest"] or 0),
        approvals=int(asked[0]["n"]),
        **{name: int(machines[0][name]) for name in ("online", "draining", "offline", "slots")},
    )


#: From org to org, so that each count is a range of the index by org and status.
_BY_STATUS = (
    "SELECT s.status, sum((SELECT count(*) FROM runs r WHERE r.org_id = o.id AND r.status = s.status)) AS n "
    "FROM orgs o CROSS JOIN (SELECT 'queued' AS status UNION ALL SELECT 'running' UNION ALL SELECT 'waiting' "
    "UNION ALL SELECT 'paused') s{orgs} GROUP BY s.status"
)
