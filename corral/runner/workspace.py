"""May this run work in that directory? Decided here, after resolving symlinks, whatever the server says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from corral.runner.failure import Failure

#: A network file system that answers later than this is away.
CHECK_SECONDS = 20.0


async def resolve(cwd: str, allowed_dirs: Sequence[str]) -> str:
    """Return `cwd` with symlinks resolved; raise Failure unless it is a directory under an allowed one."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await asyncio.to_thread(_resolve, cwd, allowed_dirs)
    except TimeoutError as error:
        raise Failure(
            "directory_away",
            f"{cwd} did not answer within {CHECK_SECONDS:.0f} seconds",
            "Is it on a network file system that is away?",
        ) from error


def _resolve(cwd: str, allowed_dirs: Sequence[str]) -> str:
    if "\0" in cwd or not os.path.isabs(cwd):  # noqa: PTH117 - text stays text: realpath below is what decides
        raise Failure("directory_not_allowed", f"{cwd!r} is not an absolute path on this machine", _hint(allowed_dirs))
    real = os.path.realpath(cwd)
    if not any(_is_under(real, allowed) for allowed in allowed_dirs):
        leads = f" (it leads to {real})" if real != os.path.normpath(cwd) else ""
        raise Failure(
            "directory_not_allowed", f"The directory {cwd}{leads} is not allowed on this runner", _hint(allowed_dirs)
        )
    if not os.path.exists(real):  # noqa: PTH110 - as above
        raise Failure(
            "directory_missing", f"The directory {cwd} does not exist on this runner", "Create it, or name another."
        )
    if not os.path.isdir(real):  # noqa: PTH112 - as above
        raise Failure("directory_missing", f"{cwd} is not a directory", "Name the directory that holds it.")
    return real


def _is_under(path: str, allowed: str) -> bool:
    return path == allowed or path.startswith(allowed.rstrip(os.sep) + os.sep)


def _hint(allowed_dirs: Sequence[str]) -> str:
    allowed = ", ".join(allowed_dirs)
    return f"Allowed are: {allowed}. Name a directory under one of these, or add yours to the runner's ALLOWED_DIRS."
