"""From a submitted job to the worker that has it: one at a time, and as many as go."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from bench.client import Connection
from bench.report import Figure
from bench.servers import Bench, Job, Target, Worker
from bench.watch import at_rank

_STARTED = {"type": "run.started", "payload": {"pid": 1}}
_COMPLETED = {"type": "run.completed", "payload": {"text": "Hello"}}
_SUBMITTERS = 8
_WORKERS = 16

Crew = tuple[list[Connection], list[Worker]]


async def idle(bench: Bench) -> list[Figure]:
    """Submit to a server that has nothing else to do, whose one worker waits."""
    rounds, jobs = (6, 50) if bench.quick else (15, 100)
    with bench.both() as targets:
        waited: dict[str, list[int]] = {}
        pairs = [(target, await Connection(target.url, target.key).open(), await target.worker()) for target in targets]
        for target, submitter, worker in pairs:
            await _one_by_one(target, submitter, worker, 30)  # warm
        # In turns, because the machine is not equally quick all the time.
        for _ in range(rounds):
            for target, submitter, worker in pairs:
                waited.setdefault(target.name, []).extend(await _one_by_one(target, submitter, worker, jobs))
    raw, corral = sorted(waited["raw"]), sorted(waited["corral"])
    return [
        Figure("dispatch idle", f"p{bound * 100:g}", "ms", at_rank(corral, bound), at_rank(raw, bound), at_most=most)
        for bound, most in ((0.5, 1.5), (0.99, 2.0))
    ]


async def load(bench: Bench) -> list[Figure]:
    """Submit, claim and report as fast as it goes, with many submitters and workers."""
    rounds, jobs = (3, 400) if bench.quick else (5, 2000)
    with bench.both() as targets:
        rates: dict[str, list[float]] = {}
        crews = [(target, await _crew(target)) for target in targets]
        for target, crew in crews:
            await _many(target, crew, 200)  # warm
        for _ in range(rounds):
            for target, crew in crews:
                rates.setdefault(target.name, []).append(await _many(target, crew, jobs))
    corral, raw = median(rates["corral"]), median(rates["raw"])
    return [
        Figure("dispatch load", f"{_SUBMITTERS} submitters, {_WORKERS} workers", "jobs/s", corral, raw, at_least=0.5)
    ]


async def _one_by_one(target: Target, submitter: Connection, worker: Worker, jobs: int) -> list[int]:
    """Return the nanoseconds from each submission to the worker's having it."""
    waited = []
    for _ in range(jobs):
        taken = asyncio.ensure_future(_take(worker))
        await asyncio.sleep(0.006)  # the poll has arrived and waits
        submitted_at = time.perf_counter_ns()
        submitted, (job, taken_at) = await asyncio.gather(target.submit(submitter), taken)
        waited.append(taken_at - submitted_at)
        assert job.id == submitted
        reply = await worker.connection.call(
            "POST", target.events_path(job.id), target.batch(job, 1, [_STARTED, _COMPLETED])
        )
        reply.json()
    return waited


async def _take(worker: Worker) -> tuple[Job, int]:
    job = await worker.poll()
    taken_at = time.perf_counter_ns()
    assert job is not None, "no job came"
    return job, taken_at


async def _crew(target: Target) -> Crew:
    submitters = [await Connection(target.url, target.key).open() for _ in range(_SUBMITTERS)]
    return submitters, [await target.worker() for _ in range(_WORKERS)]


async def _many(target: Target, crew: Crew, jobs: int) -> float:
    """Return the jobs a second from the first submission to the last report."""
    submitters, workers = crew
    left = jobs
    submitted: set[str] = set()
    reported: set[str] = set()

    async def submit(connection: Connection) -> None:
        nonlocal left
        while left:
            left -= 1
            submitted.add(await target.submit(connection))

    async def work(worker: Worker) -> None:
        while len(reported) < jobs:
            job = await worker.poll(0.5)
            if job is not None:
                body = target.batch(job, 1, [_STARTED, _COMPLETED])
                (await worker.connection.call("POST", target.events_path(job.id), body)).json()
                reported.add(job.id)
                if len(reported) == jobs:
                    finished.set()

    finished = asyncio.Event()
    began = time.perf_counter()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for connection in submitters:
            group.create_task(submit(connection))
        for worker in workers:
            group.create_task(work(worker))
        await finished.wait()
        seconds = time.perf_counter() - began
    assert submitted == reported, "a job was lost"
    return jobs / seconds
