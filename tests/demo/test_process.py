"""`python -m corral.demo`: it says where it listens, and never outlives its parent."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest


@asynccontextmanager
async def started(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "corral.demo", "--port", "0", "--pace", "0", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            assert line.startswith("listening on http://127.0.0.1:")
            yield process, line.split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly_even_with_an_answer_under_way(ending: signal.Signals) -> None:
    async with started() as (process, url), httpx.AsyncClient(headers={"x-api-key": "any"}) as http:
        asked = {
            "model": "m",
            "max_tokens": 9,
            "stream": True,
            "messages": [{"role": "user", "content": "%say x\n%wait 0\n%say y\n%stall"}],
        }
        async with http.stream("POST", f"{url}/v1/messages", json=asked) as answer:
            assert answer.status_code == 200
            process.send_signal(ending)
            out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_it_ends_when_its_parents_pipe_does() -> None:
    async with started("--watch-stdin") as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        assert process.returncode == 0


async def test_a_port_in_use_is_said_in_one_line() -> None:
    async with started() as (_, url):
        port = url.rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "corral.demo", "--port", port), stderr=asyncio.subprocess.PIPE
        )
        _, err = await second.communicate()
        assert err.decode().startswith(f"corral.demo: can't listen on port {port}: ")
        assert len(err.splitlines()) == 1
