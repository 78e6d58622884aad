"""Everybody at a glance, in one query: every agent, and every live run that has none."""

from __future__ import annotations

import msgspec

from corral.agents import roster
from corral.platform import database
from corral.usage import ledger


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One agent, or one live run without an agent."""

    kind: str  #: agent | run
    id: str
    name: str
    glyph: str
    role: str
    team: str | None
    manager: str | None
    status: str  #: of an agent: idle, working, waiting, paused; of a run: its own
    phase: str  #: what it is at: the title of its task, or what its run was told
    run_id: str | None  #: its live run
    task_id: str | None
    runner_id: int | None
    since: int | None  #: when that run entered its state, ms
    total_tokens: int  #: of its live run
    cost_micros: int


_PHASE = 200
_USED = (
    "(SELECT run_no, sum(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens) AS tokens, "  # noqa: S608 - constants
    f"sum({ledger.COST}) AS cost FROM {ledger.so_far('IN (SELECT no FROM live)')} GROUP BY run_no) u"
)
_WORLD = (
    "WITH live AS (SELECT r.no, r.id, r.agent_id, r.task_id, r.status, r.prompt, r.engine, r.runner_no, r.updated_at, "  # noqa: S608 - constants
    "row_number() OVER (PARTITION BY r.agent_id ORDER BY CASE r.status WHEN 'running' THEN 0 WHEN 'waiting' THEN 1 "
    "ELSE 2 END, r.no DESC) AS rank FROM runs r WHERE r.org_id = $1 "
    "AND r.status IN ('queued', 'running', 'waiting', 'paused')) "
    f"SELECT 'agent' AS kind, a.id, a.name, a.glyph, a.role, a.team, a.manager_id AS manager, a.status, "
    f"coalesce(t.title, substr(l.prompt, 1, {_PHASE}), '') AS phase, l.id AS run_id, l.task_id, m.number AS runner_id, "
    "l.updated_at AS since, coalesce(u.tokens, 0) AS total_tokens, coalesce(u.cost, 0) AS cost_micros, a.no AS no "
    f"FROM ({roster.AGENTS} AND a.state <> 'archived') a LEFT JOIN live l ON l.agent_id = a.id AND l.rank = 1 "
    "LEFT JOIN tasks t ON t.id = l.task_id LEFT JOIN runners m ON m.no = l.runner_no AND m.org_id = $1 "
    f"LEFT JOIN {_USED} ON u.run_no = l.no "
    "UNION ALL "
    f"SELECT 'run', l.id, l.engine, '', '', NULL, NULL, l.status, substr(l.prompt, 1, {_PHASE}), l.id, NULL, m.number, "
    "l.updated_at, coalesce(u.tokens, 0), coalesce(u.cost, 0), l.no AS no FROM live l "
    "LEFT JOIN runners m ON m.no = l.runner_no AND m.org_id = $1 "
    f"LEFT JOIN {_USED} ON u.run_no = l.no WHERE l.agent_id IS NULL ORDER BY kind, no"
)


async def world(org_id: int) -> list[Entry]:
    """Return the agents, oldest first, then the live runs without one."""
    rows = await database.fetch(_WORLD, org_id)
    return [
        Entry(
            **{name: row[name] for name in Entry.__struct_fields__ if name not in {"total_tokens", "cost_micros"}},
            total_tokens=int(row["total_tokens"]),
            cost_micros=int(row["cost_micros"]),
        )
        for row in rows
    ]
