"""Where every command begins, and how each of them ends."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command and exit: 0 done, 1 failed or refused, 2 misused, 3 server out of reach, 130 interrupted."""
    if sys.argv[1:] == ["runner"]:  # all its settings are in the environment: no need for a command line in memory
        from corral.runner.__main__ import start

        sys.exit(start())
    sys.exit(_ended(sys.argv[1:]))


def _ended(arguments: list[str]) -> int:
    from corral.base.errors import BadRequest, CorralError
    from corral.cli.errors import FAILED, USAGE, CommandError
    from corral.cli.terminal import stderr

    err = stderr()
    try:
        from corral.cli.commands import build

        build()(arguments, prog_name="corral")
    except Exception as error:
        if os.environ.get("CORRAL_DEBUG"):
            raise
        told = error.message if isinstance(error, CorralError) else f"{type(error).__name__}: {error}"
        err.line(f"{err.paint('Error:', 'red')} {told}")
        if isinstance(error, CommandError):
            if error.hint:
                err.line(error.hint)
            return error.exit_code
        if not isinstance(error, CorralError):
            err.line("This should not happen; CORRAL_DEBUG=1 shows where it did.", "dim")
        return USAGE if isinstance(error, BadRequest) else FAILED
    return 0
