"""The errors that services raise. Each docstring is what a person reads unless the raiser says it more exactly.

HTTP statuses are assigned in one table in `corral.web.errors`; nothing here knows HTTP.
"""

from __future__ import annotations


class CorralError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        """Take the sentence for people (default: the class's docstring) and the field it is about, if any."""
        self.message = message or (type(self).__doc__ or "").strip().partition("\n")[0]
        self.field = field
        super().__init__(self.message)


class BadRequest(CorralError):
    """The request is not valid."""


class Unauthorized(CorralError):
    """Authentication required"""  # noqa: D400 - the contract's own words


class Forbidden(CorralError):
    """This key may not do that."""


class NotFound(CorralError):
    """There is nothing here by that name."""


class Conflict(CorralError):
    """The thing is not in a state that allows this."""


class TooLarge(CorralError):
    """The request is too large."""


class RateLimited(CorralError):
    """Too many requests; try again when Retry-After has passed."""

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0) -> None:
        """Take also the seconds until a request passes again."""
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(CorralError):
    """The database is away for the moment; try again shortly."""

    def __init__(self, message: str | None = None, *, retry_after: float = 2.0) -> None:
        """Take also the seconds after which a retry makes sense."""
        super().__init__(message)
        self.retry_after = retry_after


class LeaseLost(Conflict):
    """The lease of this attempt passed to another runner, or the run has ended."""
