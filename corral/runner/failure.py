"""Why an attempt failed, in the words that people read: the payload of `run.failed`."""

from __future__ import annotations

import msgspec

from corral.base.errors import CorralError


class Failure(CorralError):
    """The attempt cannot go on."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        """Take a stable code for programs, what happened, and what to do about it."""
        super().__init__(message)
        self.code = code
        self.hint = hint

    def payload(self) -> bytes:
        """Return it as JSON."""
        return msgspec.json.encode({"code": self.code, "message": self.message, "hint": self.hint})
