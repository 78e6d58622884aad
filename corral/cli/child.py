"""The processes that `corral up` owns: each has a pipe whose end tells it that its parent is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_STEADY_SECONDS = 60.0
#: The runner promises to end its trees within 10 s of the pipe's end.
_GRACE_SECONDS = 12.0


class RunnerChild:
    """A `corral runner` of our own: started, restarted when it dies, and interrupted at the end."""

    def __init__(self, env: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Take the runner's whole environment, and where to tell people about its deaths."""
        self._env = dict(env)
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: int | None = None
        self._stopping = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and keep it alive from now on."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name="runner child")

    async def stop(self, hurry: asyncio.Event) -> None:
        """Interrupt the runner by ending its pipe; when its time is over or `hurry` is set, end it by force."""
        self._stopping.set()
        self._close_pipe()
        if self._keeper is not None:
            hurried = asyncio.create_task(hurry.wait())
            await asyncio.wait({self._keeper, hurried}, timeout=_GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            self._kill()
            await self._keeper

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            assert self._process is not None
            started = time.monotonic()
            code = await self._process.wait()
            self._close_pipe()
            if self._stopping.is_set():
                return
            pause = _FIRST_PAUSE if time.monotonic() - started > _STEADY_SECONDS else min(pause * 2, _LONGEST_PAUSE)
            self._say(f"The runner ended ({_ending(code)}); starting it again in {pause:.0f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                return
            await self._spawn()

    async def _spawn(self) -> None:
        theirs, ours = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-P", "-m", "corral", "runner"],
                env={**self._env, "CORRAL_PARENT_PIPE": str(theirs)},
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs,),
                start_new_session=True,  # ^C in this terminal reaches the server alone
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._pipe = ours
        if self._stopping.is_set():  # asked to stop while it was starting
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
