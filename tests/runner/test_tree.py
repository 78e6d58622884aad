"""Ending process trees: whoever left for a session of its own, lost its parent, or is deaf."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys

import pytest

from corral.runner import tree
from tests.support.processes import is_alive
from tests.support.waiting import PATIENCE


async def start(script: str, **env: str) -> tuple[asyncio.subprocess.Process, list[int]]:
    """Start a shell; it prints the pids of its children on one line."""
    process = await asyncio.create_subprocess_exec(
        *["sh", "-c", script],
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **env},
        start_new_session=True,
    )
    assert process.stdout is not None
    return process, [int(pid) for pid in (await process.stdout.readline()).split()]


async def test_children_in_sessions_of_their_own_end_with_the_tree() -> None:
    process, pids = await start("setsid sleep 300 & a=$!; sleep 300 & echo $a $!; wait")
    root = tree.identify(process.pid)
    assert root is not None
    assert await tree.end([root]) >= 3
    assert not any(map(is_alive, [process.pid, *pids]))


async def test_orphans_are_found_by_their_mark() -> None:
    process, pids = await start("setsid sleep 300 >/dev/null & echo $!", CORRAL_RUN="run-1")
    await process.wait()
    assert all(map(is_alive, pids))
    await tree.end([], ["run-2"])
    assert all(map(is_alive, pids))
    await tree.end([], ["run-1"])
    assert not any(map(is_alive, pids))


async def test_the_deaf_are_killed_after_the_grace() -> None:
    process, pids = await start("trap '' TERM; setsid sh -c \"trap '' TERM; sleep 300; true\" & echo $!; wait; true")
    root = tree.identify(process.pid)
    assert root is not None
    await tree.end([root], grace=0.2)
    assert not any(map(is_alive, [process.pid, *pids]))


async def test_the_stopped_hear_that_they_shall_end() -> None:
    process, _ = await start("echo; exec sleep 300")
    os.kill(process.pid, signal.SIGSTOP)
    root = tree.identify(process.pid)
    assert root is not None
    await tree.end([root], grace=10.0)
    assert await asyncio.wait_for(process.wait(), 5 * PATIENCE) == -signal.SIGTERM


async def test_a_pid_that_was_given_to_another_process_is_left_alone() -> None:
    process, _ = await start("echo; exec sleep 300")
    root = tree.identify(process.pid)
    assert root is not None
    await tree.end([tree.Process(root.pid, root.started + "0")])
    tree.send_signal(tree.Process(root.pid, root.started + "0"), signal.SIGKILL)
    assert is_alive(process.pid)
    await tree.end([root])


async def test_what_cannot_be_ended_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "KILL_SECONDS", 0.1)
    monkeypatch.setattr(tree, "send_signal", lambda *_: None)
    process, _ = await start("echo; exec sleep 300")
    root = tree.identify(process.pid)
    assert root is not None
    with pytest.raises(tree.StillAliveError, match=str(process.pid)):
        await tree.end([root], grace=0.0)
    process.kill()
    await process.wait()


async def test_nothing_to_end_is_nothing_done() -> None:
    assert await tree.end([tree.Process(2**22 + 1, "x")], ["nobody"]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux has subreapers")
def test_orphans_without_a_mark_come_to_the_runner_and_are_ended() -> None:
    # In a process of its own: being a subreaper cannot be undone.
    script = (
        "import asyncio, os, subprocess, sys\n"
        "from corral.runner import tree\n"
        "async def main():\n"
        "    assert tree.adopt_orphans()\n"
        "    orphan = 'env -i setsid sleep 300 >/dev/null 2>&1 & echo $!'\n"
        "    out = subprocess.run(['sh', '-c', orphan], capture_output=True)\n"
        "    strays, pid = tree.Strays(), int(out.stdout)\n"
        "    await strays.run_once([])\n"
        "    assert tree.identify(pid)\n"
        "    await strays.run_once([])\n"
        "    assert tree.identify(pid) is None\n"
        "    await strays.run_once([])\n"
        "    print(pid)\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert not is_alive(int(ran.stdout.split()[-1]))


def test_this_process_knows_itself_and_no_ghost() -> None:
    assert tree.identify(os.getpid()) == tree.identify(os.getpid())
    assert tree.identify(2**22 + 1) is None


@pytest.mark.skipif(shutil.which("ps") is None, reason="There is no ps here")
def test_ps_tells_the_same_as_proc() -> None:
    shown = tree._ps_table(None)
    assert shown[os.getpid()].parent == os.getppid()
    assert not shown[os.getpid()].is_dead
