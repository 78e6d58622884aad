"""How the servers do: what is wrong, what waits, and what to change."""

from __future__ import annotations

from datetime import datetime

from corral.platform.access import Role
from corral.web import answers, system
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.console import words
from corral.web.console.page import page
from corral.web.routes import Routes
from corral.web.system import LoopView, QueueView, System

route = Routes("console", hidden=True, content=answers.HTML)

#: What people call the checks of readiness.
CHECKS = {
    "serving": "Serving",
    "database": "Database",
    "migrations": "Tables",
    "bus": "Hints between servers",
    "loops": "Background work",
}
ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "memory": "this process alone", "redis": "Redis"}


@route.get("/app/system", scope="runners:read", role=Role.ADMIN)
async def system_page(call: Call) -> Answer:
    """Show how this server and the others do."""
    found = await system.look(call.server, call.org_id)
    return await page(
        call, "system.html", "system",
        system=found, database=_database(found), bus=ENGINES[found.bus], queue=_queue(found.queue),
        checks=[(CHECKS[check.name], check) for check in found.checks],
        servers=[(one, _ms(one.started_at), _ms(one.seen_at)) for one in found.servers],
        loops=[(loop, _every(loop.every_seconds), *_how(loop)) for loop in found.loops],
        started_at=_ms(found.started_at), lag=f"{found.event_loop_lag_ms:g} ms",
    )  # fmt: skip


def _database(found: System) -> str:
    took = f", answers in {found.database_ms:.3g} ms" if found.database_ms is not None else ""
    return ENGINES[found.database] + took


def _queue(queue: QueueView | None) -> list[tuple[str, str]]:
    """Return what waits and who works, as facts."""
    if queue is None:
        return []
    facts = [(words.STATUS_WORDS[status].lower(), str(count)) for status, count in queue.runs.items() if count]
    waited = f"{queue.ready}, the first for {words.duration(queue.oldest_seconds)}" if queue.ready else "0"
    machines = f"{queue.runners_online} of {queue.runners_online + queue.runners_offline}"
    return [
        *facts,
        ("ready for a runner", waited),
        ("questions for people", str(queue.approvals)),
        ("runners online", machines),
        ("slots", str(queue.runner_slots)),
    ]


def _how(loop: LoopView) -> tuple[str, str, int | None]:
    """Return the class and the word of how a loop does, and when it last went well."""
    status, word = ("completed", "Fine") if loop.error is None else ("waiting", "Failed")
    if loop.broken:
        status, word = "failed", "Broken"
    elif loop.rounds == 0:
        status, word = "queued", "Not yet"
    return status, word, _ms(loop.last_success_at) if loop.last_success_at else None


def _every(seconds: float) -> str:
    size, unit = next(((size, unit) for size, unit in ((3600, "h"), (60, "m")) if seconds >= size), (1, "s"))
    return f"{seconds / size:g} {unit}"


def _ms(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
