"""API keys, without the keys."""

from __future__ import annotations

import msgspec

from corral.platform.keys import Key
from corral.runs.frames import moment
from corral.web.present.times import shown


class KeyView(msgspec.Struct, rename="camel", kw_only=True):
    """A key as people see it after it was made."""

    id: str
    name: str
    prefix: str  #: its first characters
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None  #: to the minute
    rate_limit: int | None  #: requests a minute, 0 for any number; null: as the org has it


class NewKey(KeyView, rename="camel", kw_only=True):
    """A key just made: the only answer that holds the key itself."""

    key: str


class KeyList(msgspec.Struct):
    """Keys, newest first."""

    data: list[KeyView]


def key_view(key: Key) -> KeyView:
    """Show a key."""
    return KeyView(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        created_at=moment(key.created_at),
        expires_at=shown(key.expires_at),
        revoked_at=shown(key.revoked_at),
        last_used_at=shown(key.last_used_at),
        rate_limit=key.rate_limit,
    )


def new_key(key: Key, token: str) -> NewKey:
    """Show a key with its token, this once."""
    return NewKey(key=token, **msgspec.structs.asdict(key_view(key)))
