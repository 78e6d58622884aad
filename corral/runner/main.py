"""Start a runner and end it: identity, daemon, exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from corral.base import logs
from corral.base.errors import CorralError
from corral.runner.daemon import Daemon
from corral.runner.identity import Identity
from corral.runner.session import NotWelcomeError
from corral.runner.settings import Settings
from corral.runner.workers import COMMANDS
from corral.wire.runs import Engine

#: A runner whose parent was killed needs some seconds to end its trees; its successor waits for it.
SUCCESSOR_PATIENCE_SECONDS = 15.0
EXIT_NOT_WELCOME = 2

log = logs.get_logger()


def main(settings: Settings, commands: Mapping[Engine, tuple[str, ...]] = COMMANDS) -> int:
    """Run until told to stop. 0: ended as told; 2: the settings or the server don't allow it to run."""
    logs.set_up(settings.log_form, settings.log_level)
    try:
        patience = SUCCESSOR_PATIENCE_SECONDS if settings.control_fd is not None else 0.0
        identity = Identity(settings.data, patience=patience)
    except CorralError as error:
        log.error("cannot start", why=error.message)  # noqa: TRY400 - people are told what to do, not where it is checked
        return EXIT_NOT_WELCOME
    try:
        asyncio.run(_run(settings, identity.uid, commands))
    except NotWelcomeError as error:
        log.error("cannot serve", why=error.message)  # noqa: TRY400 - as above
        return EXIT_NOT_WELCOME
    finally:
        identity.release()
    log.info("stopped")
    return 0


async def _run(settings: Settings, uid: str, commands: Mapping[Engine, tuple[str, ...]]) -> None:
    await Daemon(settings, uid, commands=commands).run()
