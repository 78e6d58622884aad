"""Envelope encryption: each org's secrets are sealed with its data key, which is stored sealed with the master key.

AES-256-GCM with a random nonce. A seal is bound to its place, so that one which was moved or changed does not open.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

import msgspec

from corral.base.errors import Conflict

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class Broken(Conflict):
    """A stored secret was changed outside of Corral and cannot be used: store it anew."""


class WrongMasterKey(Conflict):
    """The secrets stored here were encrypted with another master key."""


class MasterKey:
    """The key over all data keys. It is never shown, not even by accident."""

    def __init__(self, key: bytes) -> None:
        """Take its 32 bytes."""
        assert len(key) == KEY_BYTES
        self._key = key
        #: Tells master keys apart, and nothing about them.
        self.fingerprint = hmac.digest(key, b"corral master key", "sha256")[:4].hex()

    def wrap(self, org_id: int, data_key: bytes) -> bytes:
        """Return an org's data key as it is stored."""
        return seal(self._key, data_key, "data key", org_id)

    def unwrap(self, org_id: int, wrapped: bytes) -> bytes:
        """Return an org's data key."""
        return unseal(self._key, wrapped, "data key", org_id)


def new_key() -> bytes:
    """Return a new key, of either kind."""
    return secrets.token_bytes(KEY_BYTES)


def seal(key: bytes, plain: bytes, *place: str | int) -> bytes:
    """Encrypt what belongs to `place` and nowhere else."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _aes(key).encrypt(nonce, plain, _bound(place))


def unseal(key: bytes, sealed: bytes, *place: str | int) -> bytes:
    """Decrypt what was sealed for `place`; Broken if it is not that, whole and unchanged."""
    from cryptography.exceptions import InvalidTag

    try:
        return _aes(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(place))
    except (InvalidTag, ValueError) as error:
        raise Broken from error


def _aes(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _bound(place: tuple[str | int, ...]) -> bytes:
    return msgspec.json.encode(place)
