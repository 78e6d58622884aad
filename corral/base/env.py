"""Read settings from an environment. Every value may also come from a file: `NAME_FILE` holds its path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corral.base.errors import BadRequest


def read(env: Mapping[str, str], name: str, default: str = "") -> str:
    """Return `name`, else the content of the file that `name_FILE` names, else `default`. Both set is an error."""
    value, path = env.get(name, ""), env.get(f"{name}_FILE", "")
    if value and path:
        raise BadRequest(f"{name} and {name}_FILE are both set; keep one of them", field=name)
    if not path:
        return value or default
    try:
        return Path(path).read_text(encoding="utf-8").strip() or default
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{name}_FILE names {path}, which cannot be read: {error}", field=f"{name}_FILE") from error


def read_number(env: Mapping[str, str], name: str, default: float, *, least: float = 0) -> float:
    """Return `name` as a number of at least `least`."""
    text = read(env, name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not number >= least:
        raise BadRequest(f"{name} must be a number of at least {least:g}, not {text!r}", field=name)
    return number
