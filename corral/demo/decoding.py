"""A request's body → its type, or what is wrong with it in the words of a provider's API."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode(body: bytes, type_: type[T]) -> T:
    """The value of a JSON body. ValueError names the field and what was wrong with it."""
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise ValueError(_where(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The request body is not valid JSON: {error}") from None


def _where(error: str) -> str:
    """Msgspec's "Expected … - at `$.messages[0].role`" as "messages.0.role: Expected …"; a missing field likewise."""
    what, _, at = error.partition(" - at `$")
    path = at.rstrip("`").replace("[", ".").replace("]", "").strip(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
        return f"{'.'.join(filter(None, (path, missing[1])))}: Field required"
    return f"{path or 'body'}: {what}"
