"""MCP servers that hang, crash or flood, over both transports: an answer for who called, and time for all others."""

from __future__ import annotations

import asyncio
import resource
import time

import pytest

from corral.mcp.client import once
from corral.mcp.link import Unreachable
from corral.mcp.pool import User
from tests.mcp.probe import BAD, Probe
from tests.support.waiting import PATIENCE

ADA = User(1, "ada", "run")
#: What is told of each kind. A flood is noticed long before any limit of time.
CALLS = {
    "hang": "no answer in 1 seconds",
    "crash": "ended during the call",
    "result": "it floods: a message of more than 8 MB",
    "line": "8",  # MB, or bytes
    "messages": "it floods: more than 5,000 messages",
    "garbage": "",
    "stderr": "no answer in 1 seconds",
    "packed": "packs its answers",
}
OVER = {"stdio": [kind for kind in CALLS if kind != "packed"], "http": [kind for kind in CALLS if kind != "stderr"]}
EACH = [(transport, kind) for transport, kinds in OVER.items() for kind in kinds]


class Stopwatch:
    """How long the loop kept everybody else waiting."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now

    def stop(self) -> None:
        self._task.cancel()


@pytest.mark.parametrize(("transport", "kind"), EACH)
async def test_a_call_of_it_gets_an_answer_and_nothing_is_left(
    probe: Probe, transport: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.mcp.link._SIGN_OF_LIFE", 0.5)
    async with probe.over(transport, kind, script=BAD) as server, once(server, ADA) as session:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        watch = Stopwatch()
        answer = await session.call("go", {}, 1 if "1 seconds" in CALLS[kind] else 30)
        watch.stop()
        assert answer.is_error
        assert CALLS[kind] in answer.text
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
        assert watch.longest < 1.5 * PATIENCE
        again = await session.call("tell", {}, 30)
        assert again.is_error == ((kind, transport) == ("crash", "http"))
        assert len(probe.living()) == (0 if (kind, transport) == ("crash", "http") else 1)
    if transport == "stdio":
        assert probe.living() == []


@pytest.mark.parametrize("kind", ["hang", "crash", "line", "messages", "garbage", "stderr"])
async def test_a_start_of_it_fails_and_leaves_nothing(probe: Probe, kind: str) -> None:
    seconds = 1.0 if kind in {"hang", "stderr"} else 30.0
    with pytest.raises(Unreachable) as failed:
        async with once(probe.stdio(kind, "--at-start", script=BAD), ADA, start_seconds=seconds):
            pass
    assert "floods" in failed.value.message or kind in {"hang", "crash", "stderr"}
    assert "something broke" in failed.value.message or kind != "crash"
    assert len(probe.pids()) == 1
    assert probe.living() == []


async def test_what_a_server_has_started_ends_with_it(probe: Probe) -> None:
    """Also if it ends as it should itself, and leaves that behind."""
    async with once(probe.stdio("hang", "--parent", script=BAD), ADA), asyncio.timeout(20 * PATIENCE):
        while len(probe.living()) < 2:  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.01)
    async with asyncio.timeout(20 * PATIENCE):
        while probe.living():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
