"""Keep one event from filling the spool: long texts in a payload are cut, and say so where they were cut."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

#: Payloads up to this many bytes are left alone.
MOST_BYTES = 256 * 1024
_SHORTEST = 200
_SMALL_BYTES = 2000


def trim(payload: bytes, most: int = MOST_BYTES) -> bytes:
    """Return `payload`, a JSON object, in at most `most` bytes: the same keys, its longest texts cut."""
    if len(payload) <= most:
        return payload
    value = msgspec.json.decode(payload)
    long = list(_lengths(value))
    keep = most // 2
    while keep >= _SHORTEST:
        # Cutting copies everything, so it is tried only where it can be enough.
        if len(payload) - sum(length - keep for length in long if length > keep) <= most:
            shorter = msgspec.json.encode(_cut(value, keep))
            if len(shorter) <= most:
                return shorter
        keep //= 2
    # Not long texts but very many things: name what is small, and leave out the rest.
    return msgspec.json.encode({key: _small(part) for key, part in value.items()})


def _lengths(value: Any) -> Iterator[int]:
    """Yield the length of each text that is worth cutting."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if len(one) > _SHORTEST:
                yield len(one)
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _small(value: Any) -> Any:
    size = len(msgspec.json.encode(value))
    if size <= _SMALL_BYTES:
        return value
    note = f"[Corral left out {size:,} bytes here; sha256 {_digest(msgspec.json.encode(value))}]"
    return {"left_out": note} if isinstance(value, dict) else [note] if isinstance(value, list) else note


def _cut(value: Any, keep: int) -> Any:
    if isinstance(value, str) and len(value) > keep:
        # The hash keeps two actions apart that differ only in what was cut: an approval is bound to the exact one.
        digest = _digest(value.encode())
        return f"{value[:keep]}\n[Corral cut {len(value) - keep:,} of {len(value):,} characters here; sha256 {digest}]"
    if isinstance(value, list):
        return [_cut(item, keep) for item in value]
    if isinstance(value, dict):
        return {key: _cut(item, keep) for key, item in value.items()}
    return value


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
