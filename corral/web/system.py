"""What there is to know about the servers, gathered for the page and the API: how they do, and what to change.

What is an org's is shown to that org. What is the operator's (machines, errors, settings) is for the first org, whose
people run the servers; to others those are none of their business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from corral.base import logs
from corral.platform import pulse
from corral.platform.orgs import FIRST_ORG
from corral.platform.servers import ServerProcess
from corral.runs import figures
from corral.runs.frames import moment
from corral.web.readiness import Check, is_broken

if TYPE_CHECKING:
    from corral.base.supervisor import Loop
    from corral.platform.settings import Settings
    from corral.web.server import Server


class ServerView(msgspec.Struct, kw_only=True):
    """A server process."""

    id: str
    name: str
    version: str
    started_at: str
    seen_at: str
    is_there: bool  #: it was seen within the last 20 s
    is_this: bool  #: it is the one that answers


class LoopView(msgspec.Struct, kw_only=True):
    """One thing that the server does again and again."""

    name: str
    every_seconds: float
    last_success_at: str | None
    seconds: float  #: of the last round
    rounds: int
    failures: int
    broken: bool  #: it fails again and again
    error: str | None  #: what the last round failed with


class QueueView(msgspec.Struct, kw_only=True):
    """What your org has to do."""

    runs: dict[str, int]  #: by status, those that have not ended
    ready: int  #: queued ones that a runner may take
    oldest_seconds: float  #: how long the first of them has waited
    approvals: int
    runners_online: int
    runners_offline: int
    runner_slots: int


class System(msgspec.Struct, kw_only=True):
    """How the servers do."""

    ready: bool
    version: str
    started_at: str
    database: str  #: sqlite or postgresql
    database_ms: float | None  #: what it took to answer
    bus: str  #: memory or redis
    event_loop_lag_ms: float
    checks: list[Check]
    queue: QueueView | None  #: null while the database is away
    servers: list[ServerView] = []
    loops: list[LoopView] = []
    advice: list[str] = []  #: what should be set otherwise


async def look(server: Server, org_id: int) -> System:
    """Gather it for somebody of this org."""
    readiness = await server.prober.look()
    is_there = readiness.database_ms is not None
    settings, processes = server.settings, list[ServerProcess]()
    found = System(
        ready=readiness.ready,
        version=readiness.version,
        started_at=moment(server.presence.started_at),
        database="sqlite" if settings.is_embedded else "postgresql",
        database_ms=readiness.database_ms,
        bus="redis" if settings.redis_url else "memory",
        event_loop_lag_ms=round(pulse.lag * 1000, 1),
        checks=readiness.checks,
        queue=await _queue(org_id) if is_there else None,
    )
    if org_id != FIRST_ORG:
        return found
    if is_there:
        processes = await server.presence.all()
    found.servers = [_server(one, server.presence.id) for one in processes]
    found.loops = [_loop(loop) for loop in server.supervisor.loops]
    found.advice = await asyncio.to_thread(advice, settings, processes)
    return found


def advice(settings: Settings, processes: list[ServerProcess]) -> list[str]:
    """Return what an operator should change, in the order in which it matters."""
    there = [one for one in processes if one.is_there]
    is_reachable = settings.host not in {"127.0.0.1", "::1", "localhost"} or bool(settings.public_url)
    said = []
    if len(there) > 1 and not settings.redis_url:
        said.append(
            f"{len(there)} servers share this database without Redis: events and cancellations reach the others up to "
            "two seconds late, and limits count for each server alone. Set CORRAL_REDIS_URL on all of them."
        )
    if len({one.version for one in there}) > 1:
        versions = ", ".join(sorted({one.version for one in there}))
        said.append(f"The servers are of different versions ({versions}): bring the update to its end.")
    if is_reachable and urlsplit(settings.public_url).scheme != "https":
        said.append(
            "Other machines reach this server without TLS, so that keys and sign-ins can be read on the way. "
            "Put a proxy with TLS before it, and set CORRAL_PUBLIC_URL to its https:// address."
        )
    if is_reachable and not settings.secret_key and (settings.data / "secret.key").exists():
        said.append(
            "The master key of stored secrets lies in the data directory, so that a copy of that opens them. "
            "Keep it elsewhere, and set CORRAL_SECRET_KEY_FILE to where it is."
        )
    if not settings.is_embedded and not settings.secret_key:
        said.append(
            "Without CORRAL_SECRET_KEY each server looks for the master key in its own data directory. "
            "Set it, the same on every server."
        )
    if not settings.rate_limit:
        said.append("CORRAL_RATE_LIMIT is 0: one client in a loop can keep all others waiting.")
    return said


async def _queue(org_id: int) -> QueueView:
    found = await figures.count(org_id)
    return QueueView(
        runs=dict(found.runs),
        ready=found.ready,
        oldest_seconds=found.oldest_ms / 1000,
        approvals=found.approvals,
        runners_online=found.online,
        runners_offline=found.offline,
        runner_slots=found.slots,
    )


def _server(one: ServerProcess, this: str) -> ServerView:
    return ServerView(
        id=one.id,
        name=one.name,
        version=one.version,
        started_at=moment(one.started_at),
        seen_at=moment(one.seen_at),
        is_there=one.is_there,
        is_this=one.id == this,
    )


def _loop(loop: Loop) -> LoopView:
    return LoopView(
        name=loop.name,
        every_seconds=loop.every,
        last_success_at=moment(int(loop.ended_at * 1000)) if loop.ended_at is not None else None,
        seconds=round(loop.lasted, 4),
        rounds=loop.rounds,
        failures=loop.failures,
        broken=is_broken(loop),
        error=logs.concealed(str(loop.error) or repr(loop.error))[:300] if loop.error is not None else None,
    )
