"""The first page of every list, with auth, beside a bare Sanic and Tortoise handler on the same rows.

There are 10,000 keys and 1,000 orgs in the database meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import asyncpg
from tortoise import Model

from bench.client import Connection
from bench.report import Figure
from bench.servers import Bench, Corral
from bench.tasks import bare, rate, rows
from corral.agents.models import Agent, Epic, Message, Task
from corral.mcp.models import Server
from corral.platform.models import ApiKey, AuditLine, Invitation, Org, SignIn, User
from corral.runs.models import Approval, Run, Runner
from corral.secrets.models import Secret, SecretUse
from corral.usage.models import Budget, UsageLine
from tests.support.people import newcomer
from tests.support.seeds import Seeds

_SHOWN, _ROWS = 50, 200
_KEYS, _ORGS = 10_000, 1_000
_CLIENTS = 8
_ID = "{id}"


class List(NamedTuple):
    """A list, the table whose rows it shows, and what a copy of a row has otherwise."""

    path: str
    model: type[Model]
    other: Mapping[str, str] = {}
    rows: int = _ROWS
    which: str = "1 = 1"  #: the row that is copied


_LISTS = (
    List("/api/v1/runs", Run, {"id": _ID}, which="status = 'completed'"),
    List("/runners/{runner}/pods", Run, rows=0),
    List("/runners", Runner, {"uid": _ID, "number": "number + i", "session": _ID}),
    List("/runners/available", Runner, rows=0),
    List("/api/agents", Agent, {"id": _ID, "name": "name || i"}),
    List("/api/tasks", Task, {"id": _ID}),
    List("/api/epics", Epic, {"id": _ID}),
    List("/api/messages", Message, {"id": _ID, "inbox_seq": "NULL"}, which="dead_at IS NOT NULL"),
    List("/api/messages/dead", Message, rows=0),
    List("/api/approvals", Approval, {"id": _ID, "request_id": _ID}),
    List("/api/secrets", Secret, {"key": "key || i"}),
    List("/api/secrets/uses", SecretUse),
    List("/api/mcps", Server, {"id": _ID, "name": "name || i"}),
    List("/api/budgets", Budget, {"id": _ID, "target": _ID}, 60),
    List("/api/v1/keys", ApiKey, {"id": _ID, "hash": _ID}, _KEYS),
    List("/api/people", User, {"id": _ID, "email": "NULL"}),
    List("/api/invitations", Invitation, {"id": _ID, "hash": _ID}),
    List("/api/sign-ins?everyone=true", SignIn, {"id": _ID, "hash": _ID}),
    List("/api/audit", AuditLine, {"id": _ID}),
    List("/api/usage/ledger", UsageLine, {"source": "source || i"}),
)
#: That the people are in the org, and uses of secrets that nobody has opened.
_MEMBERS = (
    "INSERT INTO members (org_id, user_id, role, created_at) SELECT org_id, id, role, created_at FROM users u "
    "WHERE NOT EXISTS (SELECT 1 FROM members m WHERE m.user_id = u.id)"
)
_USE = (
    "INSERT INTO secret_uses (org_id, secret_no, agent_id, key, version, used_by, used_at) "
    "SELECT org_id, no, '', key, 1, 'key:' || no, created_at FROM secrets"
)


async def pages(bench: Bench) -> list[Figure]:
    """Ask both for the newest page of each list, with several clients at once and in turns."""
    rounds, seconds = (2, 0.15) if bench.quick else (4, 0.2)
    figures = []
    with bench.place() as (folder, url):
        target = Corral(folder, url)
        try:
            runner = await asyncio.to_thread(_seed, target)
            await _copy(folder, url)
            with bare(folder, url) as (other, key):
                ours = [await Connection(target.url, target.key).open() for _ in range(_CLIENTS)]
                theirs = [await Connection(other, key).open() for _ in range(_CLIENTS)]
                for one in _LISTS:
                    path = one.path.format(runner=runner)
                    path += f"{'&' if '?' in path else '?'}limit={_SHOWN}"
                    shown = rows((await ours[0].call("GET", path)).json())
                    plain = f"/{one.model._meta.db_table}?limit={_SHOWN}&fields={len(shown[0])}"  # noqa: SLF001
                    turns = []
                    for _ in range(rounds + 1):
                        corral = await rate(ours, path, seconds, len(shown))
                        turns.append((corral, await rate(theirs, plain, seconds, _SHOWN)))
                    assert len(shown) == _SHOWN, f"{path} shows {len(shown)}"
                    corral, raw = (median(side) for side in zip(*turns[1:], strict=True))
                    figures.append(Figure("lists", one.path.partition("?")[0], "req/s", corral, raw, at_least=0.7))
        finally:
            target.stop()
    worst = min(figures, key=lambda figure: figure.ratio or 0)
    return [*figures, Figure("lists", f"the worst: {worst.what}", "req/s", worst.corral, worst.raw, at_least=0.7)]


def _seed(target: Corral) -> int:
    """Make one of everything through the API; return the runner's number."""
    with target.server.api() as api:
        seeds = Seeds(api)
        for make in (seeds.approval, seeds.task, seeds.epic, seeds.secret, seeds.mcp, seeds.budget, seeds.key):
            make()
        seeds.dead_message()
        seeds.invitation()
        newcomer(api)
        return seeds.hand.id


async def _copy(folder: Path, url: str) -> None:
    """Make of each row as many as its list needs."""
    statements = [_USE, *(copies(one.model, one.other, one.rows, one.which) for one in _LISTS if one.rows), _MEMBERS]
    statements.append(copies(Org, {"name": "'org ' || i", "id": "id + i"}, _ORGS, own=False))
    await run(statements, folder, url)


async def run(statements: list[str], folder: Path, url: str) -> None:
    """Run statements in the database of a server in `folder`, or at `url`."""
    made = "gen_random_uuid()::text" if url else "lower(hex(randomblob(16)))"
    ready = [statement.format(id=made) for statement in statements]
    if url:
        connection = await asyncpg.connect(url)
        try:
            for statement in [*ready, "ANALYZE"]:
                await connection.execute(statement)
        finally:
            await connection.close()
        return
    with closing(sqlite3.connect(folder / "data" / "corral.db", timeout=20)) as file:
        file.create_function("now_ms", 0, lambda: time.time_ns() // 1_000_000)
        for statement in ready:
            file.execute(statement)
            file.commit()


def copies(model: type[Model], other: Mapping[str, str], count: int, which: str = "1 = 1", *, own: bool = True) -> str:
    """Return the statement that copies the newest row of the first org so many times."""
    meta: Any = model._meta  # noqa: SLF001
    table, key = meta.db_table, meta.db_pk_column
    values = {name: name for name in meta.fields_db_projection.values() if name != key or name in other}
    values |= other
    newest = f"SELECT max({key}) FROM {table} WHERE {f'org_id = 1 AND {which}' if own else which}"
    return (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
        f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM {table}, n "
        f"WHERE {key} = ({newest})"
    )
