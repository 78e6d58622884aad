"""The console's built files. Their names change with their content, so browsers may keep them for good."""

from __future__ import annotations

import mimetypes
from functools import lru_cache
from pathlib import Path

from corral.base.errors import NotFound
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.routes import Routes

route = Routes("files", hidden=True)

_FOLDER = Path(__file__).parent / "static"
_NAME_LONGEST = 100  # a file system refuses to look for a much longer one
_FOR_GOOD = "public, max-age=31536000, immutable"


@route.get("/static/<name>", open=True)
async def static_file(call: Call, name: str) -> Answer:
    """Send one file of the build."""
    content = _read(name)
    if content is None:
        raise NotFound(f"There is no file {name[:100]}")
    type_ = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Answer(content, 200, headers={"cache-control": _FOR_GOOD}, content_type=type_)


@lru_cache(maxsize=32)
def _read(name: str) -> bytes | None:
    """Return a file's content; a name is never a path."""
    path = _FOLDER / name
    is_ours = len(name) <= _NAME_LONGEST and path.parent == _FOLDER and not name.startswith(".")
    return path.read_bytes() if is_ours and path.is_file() else None
