"""Run the server, and for `corral up` a runner beside it, until somebody asks them to end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from corral.cli import welcome
from corral.cli.child import RunnerChild
from corral.cli.datadir import DataDir
from corral.cli.environment import for_runner
from corral.cli.serving import serving
from corral.cli.signals import Ending, listening
from corral.cli.terminal import stderr
from corral.platform.settings import Settings
from corral.runner import settings as runner_settings


async def up(
    settings: Settings, *, command: str, runner_env: Mapping[str, str] | None, notes: tuple[str, ...] = ()
) -> None:
    """Serve from the locked data directory, with `runner_env` (what this shell has) beside a runner of our own."""
    directory = DataDir(settings.data)
    with directory.locked(command), listening() as ending:
        if runner_env is not None:
            _check(_for_runner(runner_env, "http://127.0.0.1", directory))
        async with serving(settings, directory, ending.hurry, with_runner=runner_env is not None) as server:
            env = None if runner_env is None else _for_runner(runner_env, server.here, directory)
            with directory.announced(server.here):
                welcome.show(server, runner_env=env, notes=notes)
                async with _runner(env, ending):
                    await ending.asked.wait()
                    stderr().line("Ending …", "dim")


async def serve(settings: Settings, *, directory: DataDir | None) -> None:
    """Serve alone. SQLite's directory has one holder; on a database of its own, many may serve, with or without one."""
    with _holding(settings, directory) as held, listening() as ending:
        async with serving(settings, held, ending.hurry) as server:
            with held.announced(server.here) if held else contextlib.nullcontext():
                welcome.show(server, runner_env=None)
                await ending.asked.wait()
                await server.leave()


@contextlib.contextmanager
def _holding(settings: Settings, directory: DataDir | None) -> Iterator[DataDir | None]:
    """Hold the directory and yield it; None where others may hold it and do, or where there is none."""
    if directory is None:
        yield None
    elif settings.is_embedded:
        with directory.locked("corral serve"):
            yield directory
    else:
        with directory.try_locked("corral serve") as held:
            yield directory if held else None


def _for_runner(env: Mapping[str, str], url: str, directory: DataDir) -> dict[str, str]:
    return for_runner(env, url=url, key_file=directory.runner_key_file, data=directory.path / "runner", cwd=Path.cwd())


def _check(env: Mapping[str, str]) -> None:
    """Raise what the runner would end with, before anything starts; it gets its key from the server's start."""
    runner_settings.from_env({**env, "CORRAL_API_KEY_FILE": "", "CORRAL_API_KEY": "comes-with-the-server"})


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
