"""Real runner processes: what happens when one is killed, told to stop, or started twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from corral.runner.settings import Settings
from corral.wire.runner import Assignment
from tests.runner.conftest import command, until
from tests.runner.fake_server import FakeServer, error
from tests.support.processes import is_alive
from tests.support.waiting import PATIENCE

Assign = Callable[..., Assignment]
Process = asyncio.subprocess.Process
Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(settings: Settings, folder: Path) -> AsyncIterator[Start]:
    made: list[Process] = []

    async def begin(*, pass_fds: tuple[int, ...] = (), script: str = "start.py", **env: str) -> Process:
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CORRAL_URL": settings.url,
            "CORRAL_API_KEY": "crl_test_key",
            "ALLOWED_DIRS": settings.allowed_dirs[0],
            "RUNNER_NAME": "tester",
            "CORRAL_DATA": str(settings.data),
        }
        command = [str(Path(__file__).with_name(script))] if script else ["-m", "corral.runner"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env={name: value for name, value in {**base, **env}.items() if value},
            stderr=asyncio.subprocess.PIPE,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        made.append(process)
        return process

    yield begin
    for process in made:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: Process) -> tuple[int, str]:
    _, said = await asyncio.wait_for(process.communicate(), 30 * PATIENCE)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_successor_ends_what_a_killed_runner_left_and_reports_it_before_it_registers(
    server: FakeServer, start: Start, assign: Assign
) -> None:
    first = await start()
    run = server.offer(assign("usage:5 draft:3 tree:deaf orphan hang"))
    await until(lambda: len(server.payloads(run.run_id, "agent.message")) == 3)
    pids = [int(pid) for m in server.payloads(run.run_id, "agent.message")[:2] for pid in m["text"].split()]
    pids.append(server.payloads(run.run_id, "run.started")[0]["pid"])
    server.wait = 0.0
    first.kill()
    await first.wait()
    assert all(map(is_alive, pids))
    server.order.clear()
    second = await start()
    await until(lambda: "register" in server.order)
    assert not any(map(is_alive, pids))
    assert server.types(run.run_id)[-1] == "session.interrupted"
    assert sorted(usage.output_tokens for usage in server.usage[run.run_id].values()) == [3, 5]
    assert server.order.index("events") < server.order.index("register")
    assert server.registered[0].uid == server.registered[1].uid
    await until(lambda: "poll" in server.order)
    assert server.polls[-1].held == []
    second.terminate()
    assert (await ended(second))[0] == 0


async def test_a_command_that_was_begun_at_a_crash_is_answered_interrupted_and_not_repeated(
    server: FakeServer, start: Start, assign: Assign, settings: Settings
) -> None:
    asked = command("cancel", assign(""))
    settings.data.mkdir()
    (settings.data / "journal.jsonl").write_text(f'{{"line":"begun","command_id":"{asked.id}"}}\n{{"line":"do')
    server.ask(asked)
    process = await start()
    await until(lambda: asked.id in server.results)
    assert [result.status for result in server.results[asked.id]] == ["interrupted"]
    process.terminate()
    assert (await ended(process))[0] == 0


async def test_the_end_of_the_parents_pipe_interrupts_the_runs_and_ends_the_runner(
    server: FakeServer, start: Start, assign: Assign
) -> None:
    theirs, ours = os.pipe()
    process = await start(pass_fds=(theirs,), CORRAL_PARENT_PIPE=str(theirs))
    os.close(theirs)
    run = server.offer(assign("tree:good wait"))
    await until(lambda: "agent.message" in server.types(run.run_id))
    pids = [int(pid) for pid in server.payloads(run.run_id, "agent.message")[0]["text"].split()]
    os.close(ours)
    assert (await ended(process))[0] == 0
    assert server.types(run.run_id)[-1] == "session.interrupted"
    assert not any(map(is_alive, pids))


async def test_sigterm_drains(server: FakeServer, start: Start, assign: Assign) -> None:
    process = await start()
    run = server.offer(assign("hear done:x"))
    await until(lambda: "run.started" in server.types(run.run_id))
    process.send_signal(signal.SIGTERM)
    await until(lambda: server.polls[-1].draining)
    server.ask(command("message", run, b'{"text":"x"}'))
    assert (await ended(process))[0] == 0
    assert server.types(run.run_id)[-1] == "run.completed"


async def test_a_second_runner_on_the_same_directory_is_refused(server: FakeServer, start: Start) -> None:
    first = await start()
    await until(lambda: server.polls)
    code, said = await ended(await start())
    assert code == 2
    assert f"Another runner (pid {first.pid})" in said
    assert "CORRAL_DATA" in said


async def test_an_unknown_key_ends_the_start_with_a_clear_message(server: FakeServer, start: Start) -> None:
    server.refuse = lambda path, _body: (401, error("Authentication required")) if path.endswith("/register") else None
    code, said = await ended(await start(script=""))
    assert code == 2
    assert "does not know this CORRAL_API_KEY" in said
    assert "crl_test_key" not in said


@pytest.mark.parametrize("missing", ["CORRAL_URL", "CORRAL_API_KEY", "ALLOWED_DIRS"])
async def test_a_start_without_a_setting_says_which_one(start: Start, missing: str) -> None:
    code, said = await ended(await start(script="", **{missing: ""}))
    assert code == 2
    assert f"{missing} is not set" in said


async def test_an_idle_runner_takes_less_than_50_mb(server: FakeServer, start: Start) -> None:
    process = await start(script="")
    await until(lambda: len(server.polls) > 1)
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 50 * 1024
