r"""Absolute paths of machines that are not this one: POSIX and Windows, compared without touching a disk.

A runner on Windows may be served by a Linux server, so nothing here uses `os.path`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath, PureWindowsPath

AbsolutePath = PurePosixPath | PureWindowsPath

_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")


@lru_cache(maxsize=4096)
def parse(text: str) -> AbsolutePath | None:
    r"""Return the path with `.` and `..` folded away, or None if not absolute (`/a`, `C:\a`, `\\host\share`)."""
    if "\0" in text:
        return None
    if text.startswith("/"):
        return _fold(PurePosixPath("/" + text.lstrip("/")))
    if _DRIVE.match(text) or text.startswith("\\\\"):
        path = PureWindowsPath(text)
        return _fold(path) if path.is_absolute() else None
    return None


@lru_cache(maxsize=4096)
def covers(root: str, path: str) -> bool:
    """Tell whether `path` is `root` or lies under it. Paths of different kinds never do."""
    parsed_root, parsed_path = parse(root), parse(path)
    if parsed_root is None or parsed_path is None or type(parsed_root) is not type(parsed_path):
        return False
    return parsed_path.is_relative_to(parsed_root)


def split_list(text: str, *, windows: bool) -> list[str]:
    r"""Split ALLOWED_DIRS: commas always separate, colons only where they cannot be a drive's (`C:\code`)."""
    separator = "," if windows else r"[,:]"
    return [part.strip() for part in re.split(separator, text) if part.strip()]


def _fold(path: AbsolutePath) -> AbsolutePath:
    kept: list[str] = []
    for part in path.parts[1:]:
        if part == "..":
            if kept:
                kept.pop()
        elif part != ".":
            kept.append(part)
    return type(path)(path.anchor, *kept)
