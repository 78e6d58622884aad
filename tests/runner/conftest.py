"""A scripted server and real daemons, inside this process or as processes that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from corral.runner import job, tree, waiting
from corral.runner.daemon import Daemon
from corral.runner.identity import Identity
from corral.runner.settings import Settings
from corral.runner.stopping import Phase
from corral.wire.runner import Assignment, Command, Limits
from corral.wire.runs import Engine
from tests.runner.fake_server import FakeServer
from tests.support.waiting import PATIENCE

T = TypeVar("T")
WORKER = {Engine.CLAUDE_CODE: (sys.executable, str(Path(__file__).with_name("fake_worker.py")))}


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    made = FakeServer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def settings(folder: Path, server: FakeServer) -> Settings:
    work = folder / "work"
    work.mkdir()
    return Settings(
        url=server.url,
        api_key="crl_test_key",
        allowed_dirs=(str(work),),
        name="tester",
        data=folder / "data",
        max_pods=4,
    )


class _Strays(tree.Strays):
    """Ends nobody: what this process has for children beside a daemon's is what tests share, PostgreSQL above all."""

    async def run_once(self, known: Iterable[int]) -> None:
        pass


class Running:
    """A daemon in this process."""

    def __init__(self, settings: Settings) -> None:
        self.identity = Identity(settings.data)
        self.daemon = Daemon(settings, self.identity.uid, env=ENV, commands=WORKER)
        self.daemon._strays = _Strays()
        self.task = asyncio.create_task(self.daemon.run())

    async def stop(self, phase: Phase = Phase.INTERRUPT) -> None:
        self.daemon.stopping.advance(phase)
        await self.ended()

    async def ended(self) -> None:
        await asyncio.wait_for(self.task, 30 * PATIENCE)
        self.identity.release()


#: What the machine signs in to a model's API with: the CLI sees it, and so may the agent.
MINE = "sk-ant-7Qx1vZ9pLm3Kt5Rb"
ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "CORRAL_API_KEY": "crl_test_key",
    "SECRET_OF_MINE": "x",
    "ANTHROPIC_API_KEY": MINE,
}


@pytest.fixture
async def runner(settings: Settings) -> AsyncIterator[Running]:
    running = Running(settings)
    yield running
    if not running.task.done():
        running.daemon.stopping.advance(Phase.FORCE)
        with contextlib.suppress(Exception):
            await running.ended()


@pytest.fixture
def assign(settings: Settings) -> Callable[..., Assignment]:
    def make(prompt: str, **fields: Any) -> Assignment:
        given: dict[str, Any] = {
            "run_id": str(uuid.uuid4()),
            "attempt": 1,
            "lease": uuid.uuid4().hex,
            "engine": Engine.CLAUDE_CODE,
            "cwd": settings.allowed_dirs[0],
            **fields,
        }
        if "limits" in given:
            given["limits"] = Limits(**given["limits"])
        return Assignment(prompt=prompt, **given)

    return make


@pytest.fixture
def leap(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the clock by which jobs reckon so far ahead of the machine's."""
    ahead = 0.0

    def to(seconds: float) -> None:
        nonlocal ahead
        ahead = seconds

    for module in (job, waiting):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead))
    return to


def command(kind: str, about: Assignment, payload: bytes = b"{}") -> Command:
    import msgspec

    return Command(str(uuid.uuid4()), kind, about.run_id, about.attempt, msgspec.Raw(payload))


async def until(condition: Callable[[], T], *, within: float = 20.0) -> T:
    """Return the condition's first truthy value."""
    async with asyncio.timeout(within * PATIENCE):
        while True:
            with contextlib.suppress(LookupError):
                if value := condition():
                    return value
            await asyncio.sleep(0.01)
