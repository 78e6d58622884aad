"""Where every command begins, and how each of them ends."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command and exit: 0 done, 1 failed or refused, 2 misused, 3 server out of reach, 130 interrupted."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for all our life
    try:
        if sys.argv[1:] == ["runner"]:  # all its settings are in the environment: no need for a command line in memory
            from corral.runner.__main__ import start

            sys.exit(start())
        sys.exit(_ended(sys.argv[1:]))
    except KeyboardInterrupt:  # while modules are imported; later, whoever is interrupted says how it stands
        sys.exit(130)


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
        err.line(f"{err.paint('Error:', 'red')} {_told(error)}")
        if isinstance(error, CommandError):
            if error.hint:
                err.line(error.hint)
            return error.exit_code
        if not isinstance(error, (CorralError, OSError, UnicodeError)):
            err.line("This should not happen; CORRAL_DEBUG=1 shows where it did.", "dim")
        return USAGE if isinstance(error, (BadRequest, UnicodeError)) else FAILED
    return 0


def _told(error: Exception) -> str:
    from corral.base.errors import CorralError

    if isinstance(error, CorralError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if isinstance(error, UnicodeError):
        return f"What was typed or read is no UTF-8 text ({error})"
    return f"{type(error).__name__}: {error}"
