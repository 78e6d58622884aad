"""Run the server, and for `corral up` a runner beside it, until somebody asks them to end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from corral.cli import welcome
from corral.cli.child import RunnerChild
from corral.cli.datadir import DataDir
from corral.cli.environment import for_runner
from corral.cli.serving import serving
from corral.cli.signals import Ending, listening
from corral.cli.terminal import stderr
from corral.platform.settings import Settings


async def up(
    settings: Settings, *, command: str, runner_env: Mapping[str, str] | None, notes: tuple[str, ...] = ()
) -> None:
    """Serve from the locked data directory, with `runner_env` (what this shell has) beside a runner of our own."""
    directory = DataDir(settings.data)
    with directory.locked(command), listening() as ending:
        async with serving(settings, directory) as server:
            env = None
            if runner_env is not None:
                env = for_runner(
                    runner_env,
                    url=server.url,
                    key_file=directory.key_file,
                    data=directory.path / "runner",
                    cwd=Path.cwd(),
                )
            with directory.announced(server.url):
                welcome.show(server, runner_env=env, notes=notes)
                async with _runner(env, ending):
                    await ending.asked.wait()
                    stderr().line("Ending …", "dim")


async def serve(settings: Settings) -> None:
    """Serve alone, with databases of its own; many may do so at once."""
    with listening() as ending:
        async with serving(settings, None) as server:
            welcome.show(server, runner_env=None)
            await ending.asked.wait()


@contextlib.asynccontextmanager
async def _runner(env: Mapping[str, str] | None, ending: Ending) -> AsyncIterator[None]:
    """Keep a runner; at the end it reports what it interrupted while the server still answers."""
    if env is None:
        yield
        return
    child = RunnerChild(env, stderr().line)
    await child.start()
    try:
        yield
    finally:
        await child.stop(ending.hurry)
