"""What may be wrong with a sign-in by the provider."""

from __future__ import annotations

from corral.base.errors import CorralError, Forbidden, Unavailable


class Away(Unavailable):
    """The provider does not answer."""


class Refused(Forbidden):
    """The provider did not let this person in, or what it says of them cannot be trusted."""


class Untrusted(CorralError):
    """This is not what the provider says about whoever signs in. The message is for the log."""


class UnknownKey(Untrusted):
    """It is signed with a key that the provider did not have when we asked."""
