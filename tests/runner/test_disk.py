"""A disk that is full or odd costs at most the run that meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corral.runner import spool
from corral.runner.settings import Settings
from corral.wire.events import EventType
from corral.wire.runner import Assignment, Held
from tests.runner.conftest import Running, until
from tests.runner.fake_server import FakeServer
from tests.support.processes import is_alive

Assign = Callable[..., Assignment]


async def test_a_file_among_the_spools_that_cannot_be_read_keeps_no_runner_from_starting(
    server: FakeServer, settings: Settings, assign: Assign
) -> None:
    (settings.data / "spool" / "odd.1.jsonl").mkdir(parents=True)
    running = Running(settings)
    run = server.offer(assign("done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    await running.stop()


async def test_a_disk_that_is_full_for_a_moment_ends_neither_heartbeat_nor_run(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, failures = spool.create, 0

    def full(folder: Path, held: Held, *, first: int = 0) -> spool.Spool:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise OSError(28, "No space left on device")
        return create(folder, held, first=first)

    monkeypatch.setattr(spool, "create", full)
    run = server.offer(assign("done:x"))
    await until(lambda: "run.completed" in server.types(run.run_id))


async def test_a_disk_that_fills_up_fails_the_run_and_says_so(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = spool.Spool.append

    def full(self: spool.Spool, type: EventType, payload: bytes, *, at: float | None = None) -> int:
        if type == EventType.AGENT_MESSAGE:
            raise OSError(28, "No space left on device")
        return append(self, type, payload, at=at)

    monkeypatch.setattr(spool.Spool, "append", full)
    run = server.offer(assign("message:x hang"))
    await until(lambda: "run.failed" in server.types(run.run_id))
    [failed] = server.payloads(run.run_id, "run.failed")
    assert failed["code"] == "runner_disk"
    assert "No space left" in failed["message"]
    assert not is_alive(server.payloads(run.run_id, "run.started")[0]["pid"])


async def test_a_run_that_is_fenced_while_its_end_does_not_fit_on_the_disk_lets_go(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, tried = spool.Spool.append, 0

    def full(self: spool.Spool, type: EventType, payload: bytes, *, at: float | None = None) -> int:
        nonlocal tried
        if type == EventType.RUN_COMPLETED:
            tried += 1
            raise OSError(28, "No space left on device")
        return append(self, type, payload, at=at)

    monkeypatch.setattr(spool.Spool, "append", full)
    run = server.offer(assign("done:x"))
    await until(lambda: tried)
    server.lose(Held(run.run_id, 1, run.lease))
    await until(lambda: server.polls[-1].held == [] and server.polls[-1].free_slots == 4)
    assert tried < 5
