"""What Prometheus reads: what was counted (`platform/metrics.py`), and how things stand at this moment.

Each server tells of itself. What all servers tell alike, because it is counted from the rows they share, is no sum:
`docs/monitoring.md` says so beside each of those.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from corral import __version__
from corral.platform import database, metrics
from corral.runs import figures, waiting
from corral.web.readiness import CHECKS, Readiness

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from corral.web.server import Server

CONTENT = "text/plain; version=0.0.4; charset=utf-8"


async def exposition(server: Server) -> bytes:
    """Return everything in Prometheus' text format."""
    readiness = await server.prober.look()
    write, _ = await asyncio.to_thread(_library)  # its first import takes a tenth of a second
    text: bytes = write(_Families(server, readiness))
    return text


@cache
def _library() -> tuple[Any, Any]:
    from prometheus_client import ProcessCollector, generate_latest
    from prometheus_client.registry import CollectorRegistry

    return generate_latest, ProcessCollector(registry=CollectorRegistry())


class _Families:
    """All families of this moment, as the library's writer asks for them."""

    def __init__(self, server: Server, readiness: Readiness) -> None:
        self._server = server
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        """Yield one after the other."""
        yield from _library()[1].collect()
        yield from _counted()
        yield from self._state()
        yield from self._loops()
        yield from _figures()

    def _state(self) -> Iterator[Metric]:
        server = self._server
        engine = "sqlite" if server.settings.is_embedded else "postgresql"
        about = {"version": __version__, "python": platform.python_version(), "database": engine}
        yield _gauge("corral_build_info", "Which program this is.", list(about), [(list(about.values()), 1)])
        ready = {check.name: check.ok for check in self._readiness.checks}
        yield _gauge(
            "corral_ready",
            "Whether the server is ready, by what was looked at.",
            ["check"],
            [([name], ready[name]) for name in CHECKS],
        )
        yield _gauge("corral_http_in_flight", "Requests without an answer yet, streams and polls among them.", [], [
            ([], server.in_flight)
        ])  # fmt: skip
        yield _gauge("corral_stream_watchers", "Open streams of events.", [], [([], len(server.watchers.open))])
        waits = waiting.waiting_room().count
        yield _gauge("corral_polls_waiting", "Polls of runners that wait for work here.", [], [([], waits)])
        if (connections := database.connections()) is not None:
            size, used = connections
            yield _gauge(
                "corral_database_connections",
                "Connections to PostgreSQL.",
                ["state"],
                [(["used"], used), (["idle"], size - used)],
            )

    def _loops(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        loops = self._server.supervisor.loops
        rounds = CounterMetricFamily("corral_loop_rounds", "Rounds of what the server does by itself.", labels=["loop"])
        failures = CounterMetricFamily("corral_loop_failures", "Those of them that failed.", labels=["loop"])
        for loop in loops:
            rounds.add_metric([loop.name], loop.rounds)
            failures.add_metric([loop.name], loop.failures)
        yield from (rounds, failures)
        yield _gauge(
            "corral_loop_last_success_timestamp_seconds",
            "When a round last went well.",
            ["loop"],
            [([loop.name], loop.ended_at) for loop in loops if loop.ended_at is not None],
        )
        yield _gauge(
            "corral_loop_seconds", "What the last round took.", ["loop"], [([one.name], one.lasted) for one in loops]
        )


def _counted() -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    for counter in metrics.COUNTERS:
        counts = CounterMetricFamily(counter.name, counter.says, labels=counter.labels)
        for values, count in counter.cells():
            counts.add_metric(values, count.value)
        yield counts
    for histogram in metrics.HISTOGRAMS:
        spreads = HistogramMetricFamily(histogram.name, histogram.says, labels=histogram.labels)
        for values, spread in histogram.cells():
            bounds = [*(f"{float(bound)}" for bound in spread.bounds), "+Inf"]
            buckets = list(zip(bounds, accumulate(spread.counts), strict=True))
            spreads.add_metric(values, buckets, spread.total)
        yield spreads


def _figures() -> Iterator[Metric]:
    found = figures.latest
    if found is None:
        return
    yield _gauge(
        "corral_runs", "Runs that have not ended.", ["status"], [([name], n) for name, n in sorted(found.runs.items())]
    )
    yield _gauge("corral_queue_ready", "Queued runs that a runner may take.", [], [([], found.ready)])
    yield _gauge(
        "corral_queue_oldest_seconds", "How long the first of them has waited.", [], [([], found.oldest_ms / 1000)]
    )
    yield _gauge("corral_approvals_pending", "Questions that wait for a person.", [], [([], found.approvals)])
    machines = [(["online"], found.online), (["draining"], found.draining), (["offline"], found.offline)]
    yield _gauge("corral_runners", "Machines; those that drain are online too.", ["state"], machines)
    yield _gauge("corral_runner_slots", "Runs that the machines online may have at a time.", [], [([], found.slots)])


def _gauge(name: str, says: str, labels: Sequence[str], values: Iterable[tuple[list[str], float]]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, says, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family
