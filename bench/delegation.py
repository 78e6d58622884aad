"""From an agent's call of `delegate_task` to the other agent's start, beside a run that a person launches."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from bench.client import Connection
from bench.report import Figure
from bench.servers import CWD, Bench, Corral, Job, Worker
from bench.watch import at_rank

_STARTED = {"type": "run.started", "payload": {"pid": 1}}
_COMPLETED = {"type": "run.completed", "payload": {"text": "Hello"}}


async def delegation(bench: Bench) -> list[Figure]:
    """Delegate to an agent that is idle, whose runner waits; launch a run for that runner in turns with it."""
    rounds, times = (6, 40) if bench.quick else (15, 80)
    delegated: list[int] = []
    launched: list[int] = []
    with bench.corral() as target:
        people = await Connection(target.url, target.key).open()
        helper = await target.worker()
        boss = await _boss(target, people)
        for turn in range(rounds + 1):
            first, second = await boss.delegate(helper, times), await _launch(target, people, helper, times)
            if turn:  # the first warms up
                delegated += first
                launched += second
    ours, theirs = sorted(delegated), sorted(launched)
    return [
        Figure(
            "delegation", "call to start, beside a launch, p50", "ms",
            median(ours) / 1e6, median(theirs) / 1e6, at_most=2.0,
        ),
        Figure(
            "delegation", "call to start, beside a launch, p99", "ms",
            at_rank(ours, 0.99), at_rank(theirs, 0.99),
        ),
    ]  # fmt: skip


class _Boss:
    """The live run of an agent that has a helper."""

    def __init__(self, target: Corral, tools: Connection) -> None:
        self._target, self._tools = target, tools
        self._calls = 0

    async def delegate(self, helper: Worker, times: int) -> list[int]:
        """Return the nanoseconds from each call to the helper's having its run."""
        waited = []
        for _ in range(times):
            self._calls += 1
            task = {"to": "Helper", "title": "Help", "input": f"Help me, {self._calls}", "wait": True}
            call = {"call_id": f"call-{self._calls}", "input": task, "wait_seconds": 0}
            taken = asyncio.ensure_future(_take(helper))
            await asyncio.sleep(0.006)  # the poll has arrived and waits
            began = time.perf_counter_ns()
            answer, (job, taken_at) = await asyncio.gather(
                self._tools.call("POST", "/api/v1/tools/delegate_task", call), taken
            )
            waited.append(taken_at - began)
            assert answer.json() == {"done": False, "text": "", "is_error": False}
            await _finish(self._target, helper, job)
            done = await self._tools.call("POST", "/api/v1/tools/delegate_task", {**call, "wait_seconds": 20})
            assert done.json()["text"] == "Hello"
        return waited


async def _launch(target: Corral, people: Connection, helper: Worker, times: int) -> list[int]:
    """Return the nanoseconds from each launch to the runner's having the run."""
    waited = []
    for _ in range(times):
        taken = asyncio.ensure_future(_take(helper))
        await asyncio.sleep(0.006)
        began = time.perf_counter_ns()
        run, (job, taken_at) = await asyncio.gather(target.submit(people), taken)
        waited.append(taken_at - began)
        assert job.id == run
        await _finish(target, helper, job)
    return waited


async def _boss(target: Corral, people: Connection) -> _Boss:
    """Hire the agents, let the governors be, and put the boss to work on a runner of its own."""
    most = 100_000
    policy = {"max_fan_out": most, "max_open_tasks": most, "max_tasks_per_hour": most}
    (await people.call("PATCH", "/api/v1/policy", policy)).json()
    theirs = await Connection(target.url, target.key).open()
    worker = await target.worker(labels=["boss"])
    for name, labels in (("Boss", ["boss"]), ("Helper", [])):
        where = {"cli_name": "claude-code", "provider_config": {"cwd": CWD, "labels": labels}}
        agent = {"name": name, "role": "r", "model": "m", "provider": "anthropic", "glyph": "x", **where}
        (await people.call("POST", "/api/agents", agent)).json()
    (await people.call("POST", "/api/messages", {"to": "Boss", "text": "Go", "type": "question"})).json()
    job = await worker.poll()
    assert job is not None
    await theirs.call("POST", target.events_path(job.id), target.batch(job, 1, [_STARTED]))
    theirs.close()
    return _Boss(target, await Connection(target.url, f"crl_run_{job.id}_{job.lease}").open())


async def _take(worker: Worker) -> tuple[Job, int]:
    job = await worker.poll()
    taken_at = time.perf_counter_ns()
    assert job is not None, "no run came"
    return job, taken_at


async def _finish(target: Corral, worker: Worker, job: Job) -> None:
    batch = target.batch(job, 1, [_STARTED, _COMPLETED])
    (await worker.connection.call("POST", target.events_path(job.id), batch)).json()
