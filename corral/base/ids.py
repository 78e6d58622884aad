"""Ids: UUIDv7 text outside, because they sort by time and tell nothing about how many there are."""

from __future__ import annotations

import secrets
import uuid

import uuid_utils


def new_id() -> str:
    """Return a new UUIDv7 as lower-case text of 36 characters."""
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """Tell whether `text` is a UUID in its one canonical spelling."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def new_token(nbytes: int = 32) -> str:
    """Return unguessable URL-safe text with `nbytes` of randomness."""
    return secrets.token_urlsafe(nbytes)
