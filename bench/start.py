"""How long until a server answers, and what it and its guests weigh."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from bench.client import Connection
from bench.report import Figure
from bench.servers import Bench, Corral, CorralWorker, settled_memory
from tests.support.processes import Process, base_env, free_port
from tests.support.runner import Runner

_KB, _MB = 1024, 1024 * 1024


async def start(bench: Bench) -> list[Figure]:
    """From the command to the first healthy answer: on an empty data directory, and on a used one."""
    with bench.place() as (folder, database):
        folder.mkdir(exist_ok=True)
        env = {**base_env(folder), "CORRAL_BOOTSTRAP_KEY": f"crl_live_{secrets.token_urlsafe(32)}"}
        if database:
            env["CORRAL_DATABASE_URL"] = database
        first = await _until_healthy(folder, env)
        again = [await _until_healthy(folder, env) for _ in range(3 if bench.quick else 5)]
    return [
        Figure("start", "corral up to healthy, the first time", "s", first, at_most=1.2),
        Figure("start", "corral up to healthy, later", "s", median(again), at_most=1.2),
    ]


async def memory(bench: Bench) -> list[Figure]:
    """Weigh an idle server and an idle runner, then many watchers and many polling runners."""
    many = 300 if bench.quick else 1000
    figures = []
    with bench.corral() as corral:
        idle = settled_memory(corral.pid)
        figures.append(Figure("memory", "idle server", "MB", idle / _MB, at_most=100))
        each = await _per_watcher(corral, many)
        figures.append(Figure("memory", f"a watcher, of {many}", "KB", each / _KB, at_most=30))
        # Last, because its directories bound what may be launched from then on.
        figures.append(Figure("memory", "idle runner", "MB", await _runner(bench, corral) / _MB, at_most=50))
    with bench.corral() as corral:
        each = await _per_runner(corral, many)
        figures.append(Figure("memory", f"a polling runner, of {many}", "KB", each / _KB, at_most=25))
    return figures


async def _until_healthy(folder: Path, env: Mapping[str, str]) -> float:
    """Start a server, return the seconds until it is healthy, and stop it."""
    port = free_port()
    command = ["up", "--no-runner", "--host", "127.0.0.1", "--port", str(port), "--data", str(folder / "data")]
    process = Process(
        "corral up", [sys.executable, "-m", "corral", *command], env=env, log=folder / "up.log", cwd=folder
    )
    began = time.perf_counter()
    process.start()
    try:
        async with asyncio.timeout(30):
            while not await _healthy(port):
                assert process.is_running(), process.output()[-2000:]
                await asyncio.sleep(0.005)
        return time.perf_counter() - began
    finally:
        process.stop()


async def _healthy(port: int) -> bool:
    try:
        connection = await Connection(f"http://127.0.0.1:{port}", "").open()
    except OSError:
        return False
    try:
        return (await connection.call("GET", "/api/health")).status == 200
    except OSError:
        return False
    finally:
        connection.close()


async def _runner(bench: Bench, corral: Corral) -> int:
    """Return the bytes of a real runner that has registered and polls."""
    folder = bench.folder / "runner"
    folder.mkdir()
    runner = Runner(folder, url=corral.url, key=corral.key, model_url="http://127.0.0.1:9", name="idle").start()
    try:
        with corral.server.api() as api:
            await asyncio.to_thread(runner.wait_online, api)
        return await asyncio.to_thread(settled_memory, runner.process.pid)
    finally:
        runner.stop()


async def _per_watcher(corral: Corral, many: int) -> float:
    """Return the bytes that each of many streams on one run adds to the server."""
    connection = await Connection(corral.url, corral.key).open()
    job = await corral.submit(connection)
    await _watch(corral, job, 20)  # what the first ones load is not a watcher's own
    before = settled_memory(corral.pid)
    writers = await _watch(corral, job, many)
    after = settled_memory(corral.pid)
    for writer in writers:
        writer.close()
    connection.close()
    return (after - before) / many


async def _watch(corral: Corral, job: str, many: int) -> list[asyncio.StreamWriter]:
    host, _, port = corral.url.removeprefix("http://").partition(":")
    writers = []
    for _ in range(many):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"GET {corral.stream_path(job)} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {corral.key}\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(10):
            assert b"200" in await reader.readline()
        writers.append(writer)
    return writers


async def _per_runner(corral: Corral, many: int) -> float:
    """Return the bytes that each of many waiting polls adds to the server."""
    few = [await _waiting(corral) for _ in range(20)]
    before = settled_memory(corral.pid)
    waiting = [await _waiting(corral) for _ in range(many)]
    after = settled_memory(corral.pid)
    for worker, poll in (*few, *waiting):
        poll.cancel()
        worker.connection.close()
    return (after - before) / many


async def _waiting(corral: Corral) -> tuple[CorralWorker, asyncio.Future[object]]:
    worker = await corral.worker()
    assert isinstance(worker, CorralWorker)
    poll: asyncio.Future[object] = asyncio.ensure_future(worker.poll(25.0))
    await asyncio.sleep(0)
    return worker, poll
