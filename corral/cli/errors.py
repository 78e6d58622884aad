"""How a command ends when it cannot do what it was asked: a sentence, a hint, and an exit code."""

from __future__ import annotations

from corral.base.errors import CorralError

OK, FAILED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130
_NOT_VALID = 400


class CommandError(CorralError):
    """The command failed."""

    exit_code = FAILED

    def __init__(self, message: str | None = None, *, hint: str = "", field: str | None = None) -> None:
        """Take what happened and, in `hint`, what the person can do about it."""
        super().__init__(message, field=field)
        self.hint = hint


class Misused(CommandError):
    """The command was not called right."""

    exit_code = USAGE


class Unreachable(CommandError):
    """The server does not answer."""

    exit_code = UNREACHABLE


class Refused(CommandError):
    """The server said no. `status` is the HTTP one, `body` what it answered as JSON (or text)."""

    def __init__(self, message: str, *, status: int, body: object = None, hint: str = "") -> None:
        """Take the server's own sentence."""
        super().__init__(message, hint=hint)
        if status == _NOT_VALID:  # what was typed is wrong, whoever noticed
            self.exit_code = USAGE
        self.status = status
        self.body = body
