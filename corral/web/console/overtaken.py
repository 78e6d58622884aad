"""Two people at one form: what the second one saves does not undo unseen what the first one did."""

from __future__ import annotations

import zlib
from typing import Any, TypeVar

import msgspec


class Change(msgspec.Struct, kw_only=True):
    """A form that changes something."""

    seen: str = ""  #: a mark of what the form was filled with


F = TypeVar("F", bound=Change)


def marked(filled: F) -> F:
    """Return a form as it is shown: with a mark of what it was filled with."""
    filled.seen = f"{zlib.crc32(msgspec.json.encode(filled)):x}"
    return filled


def overtaken(form: Change, now: Change) -> dict[str, str]:
    """Return why a form is not saved, if what it changes is not what it was filled with; sent again, it is saved.

    Who sends no mark has seen no form, and means what they say.
    """
    if not form.seen or form.seen == marked(now).seen:
        return {}
    form.seen = now.seen
    theirs, yours = _values(now), _values(form)
    fields = [name.replace("_", " ") for name in theirs if theirs[name] != yours[name]]
    if not fields:
        return {}
    return {
        "": f"Somebody else has changed it since you opened this form. What they saved differs from yours in "
        f"{', '.join(fields)}. Save again to replace it, or open the form anew to begin from theirs."
    }


def _values(form: Change) -> dict[str, Any]:
    """Return what stands in a form's fields, however a browser sends it."""
    return {name: _plain(value) for name, value in msgspec.structs.asdict(form).items() if name != "seen"}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(value)
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else value
