"""A run's events on their way to those who watch it: how many a second, and how late."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any

from bench.client import Connection
from bench.report import Figure
from bench.servers import Bench, Job, Target, address
from tests.support.postgres import REPOSITORY

_WATCHERS = (1, 100, 500)
#: Events in a batch of the throughput: a runner under load sends up to 200.
_BATCH = 100
#: Events of a throughput round, so that one takes a few seconds at the rate to expect with so many watchers.
_EVENTS = {1: 120_000, 100: 60_000, 500: 12_000}
#: The number of a job's first event that is measured.
_FIRST = 2
_RATE = 200
#: Watchers whose events are timed, spread over all: timing each of 500 would cost more than serving them.
_TIMED = 50
_PATIENCE = 60
_TEXT = "The tests pass now; I have changed the retry so that it waits for the lock and not for the clock. " * 2


async def throughput(bench: Bench) -> list[Figure]:
    """Send batches one after the other, as one runner does, until all is accepted and every watcher has it all."""
    figures = []
    rounds = 1 if bench.quick else 2
    with bench.both() as targets:
        for watchers in _WATCHERS:
            rates: dict[str, list[float]] = {}
            events = _EVENTS[watchers] // (4 if bench.quick else 1)
            for _ in range(rounds):
                for target in targets:
                    rates.setdefault(target.name, []).append(await _rate(target, watchers, events))
            corral, raw = median(rates["corral"]), median(rates["raw"])
            figures.append(Figure("events", _watched(watchers), "events/s", corral, raw, at_least=0.5))
    return figures


async def latency(bench: Bench) -> list[Figure]:
    """Send 200 events a second, one by one; from each sending to each watcher's having it."""
    figures = []
    rounds, seconds = (1, 2.0) if bench.quick else (3, 3.0)
    with bench.both() as (raw, corral), bench.raw(fanout="tasks") as tasks:
        for watchers in _WATCHERS:
            p99: dict[str, list[float]] = {}
            for _ in range(rounds):
                for target in (raw, corral, tasks):
                    p99.setdefault(target.name, []).append(await _p99(target, watchers, seconds))
            middle = {name: median(values) for name, values in p99.items()}
            what = f"p99 at {_RATE}/s, {_watched(watchers)}"
            figures.append(Figure("latency", what, "ms", middle["corral"], middle["raw"], at_most=1.5))
            most = 1.0 if watchers == max(_WATCHERS) else None
            beside = f"{what}, beside a task for each"
            figures.append(Figure("latency", beside, "ms", middle["corral"], middle[tasks.name], at_most=most))
    return figures


async def _rate(target: Target, watchers: int, events: int) -> float:
    """Return the events a second, from the first sent to the last accepted or delivered."""
    body = {"type": "agent.message", "payload": {"text": _TEXT}}
    async with started(target) as (connection, job), _watching(target, job, watchers, events) as watching:
        path = target.events_path(job.id)
        began = time.monotonic_ns()
        for first in range(_FIRST, events + _FIRST, _BATCH):
            (await connection.call("POST", path, target.batch(job, first, [body] * _BATCH))).json()
        seen = await watching.result()
        assert seen["least"] >= events, f"{target.name}: a watcher got {seen['least']} of {events} events"
        return float(events / (seen["finished_at"] - began) * 1e9)


async def _p99(target: Target, watchers: int, seconds: float) -> float:
    events, timed = int(_RATE * seconds), min(watchers, _TIMED)
    async with started(target) as (connection, job), _watching(target, job, watchers, events, timed) as watching:
        path = target.events_path(job.id)
        await asyncio.sleep(0.1)
        began = time.monotonic_ns()
        for n in range(events):
            due = began + n * 1_000_000_000 // _RATE
            # Who is late because the last answer was late counts from when the event was due.
            if (left := due - time.monotonic_ns()) > 0:
                await asyncio.sleep(left / 1e9)
                due = time.monotonic_ns()
            event = {"type": "agent.message", "payload": {"text": _TEXT, "t": due}}
            (await connection.call("POST", path, target.batch(job, _FIRST + n, [event]))).json()
        seen = await watching.result()
        assert seen["least"] >= events, f"{target.name}: a watcher got {seen['least']} of {events} events"
        assert seen["timed"] >= events * timed * 0.9, f"{target.name}: only {seen['timed']} events were timed"
        return float(seen["p99"])


class _Watching:
    """The process that watches."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def result(self) -> dict[str, Any]:
        """Return what it saw, once it has seen enough or its time was up."""
        return dict(json.loads(await self.line()))

    async def line(self) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE + 10):
            line = await self._process.stdout.readline()
        assert line, "the watching process ended; it says why above"
        return line


@asynccontextmanager
async def _watching(target: Target, job: Job, watchers: int, events: int, timed: int = 0) -> AsyncIterator[_Watching]:
    """Watch a job in a process of its own, which costs the server's core nothing; yield when every stream is open."""
    host, port = address(target.url)
    told = {
        "host": host,
        "port": port,
        "path": target.stream_path(job.id),
        "key": target.key,
        "watchers": watchers,
        "timed": timed,
        "events": events + target.shown_before,
        "seconds": _PATIENCE,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.watch",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        watching = _Watching(process)
        assert (await watching.line()).strip() == b"ready"
        yield watching
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def started(target: Target) -> AsyncIterator[tuple[Connection, Job]]:
    """Submit a job, claim and start it; yield the worker's connection and the job, which has no end."""
    async with AsyncExitStack() as stack:
        submitter = await Connection(target.url, target.key).open()
        stack.callback(submitter.close)
        worker = await target.worker()
        stack.callback(worker.connection.close)
        submitted = await target.submit(submitter)
        job = await worker.poll()
        assert job is not None
        assert job.id == submitted
        # Without it the job would be given to another worker when this one has been silent for a while.
        started = target.batch(job, 1, [{"type": "run.started", "payload": {"pid": 1}}])
        (await worker.connection.call("POST", target.events_path(job.id), started)).json()
        yield worker.connection, job


def _watched(watchers: int) -> str:
    return f"{watchers} watcher{'s' if watchers > 1 else ''}"
