"""Where master keys come from: `CORRAL_SECRET_KEY`, else a file in the data directory, made when first needed.

There may be several, with commas or line breaks between: the first encrypts, the others still open what they sealed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import sys
from collections.abc import Iterator

from corral.base.errors import BadRequest
from corral.base.ids import new_token
from corral.platform.settings import Settings
from corral.secrets.cipher import KEY_BYTES, MasterKey, new_key

if sys.platform != "win32":
    import fcntl

#: Of the data directory.
FILE = "secret.key"


def told(settings: Settings) -> list[MasterKey]:
    """Return the keys that the settings hold; BadRequest if one is none."""
    return _parsed(settings.secret_key, "CORRAL_SECRET_KEY") if settings.secret_key.strip() else []


def kept(settings: Settings) -> list[MasterKey]:
    """Return the keys of the data directory."""
    text = _read(settings)
    return _parsed(text, str(settings.data / FILE)) if text is not None else []


def made(settings: Settings) -> MasterKey:
    """Make the key of the data directory, for its owner's eyes alone, or return what another server made meanwhile."""
    with _writing(settings):
        keys = kept(settings)
        if not keys:
            _write(settings, [_text(new_key())])
            keys = kept(settings)
        return keys[0]


def replaced(settings: Settings) -> MasterKey:
    """Put a new key before those of the data directory, which stay: what they sealed must still open."""
    with _writing(settings):
        text = _read(settings)
        kept(settings)  # refuses what is none
        _write(settings, [_text(new_key()), *_parts(text or "")])
        return kept(settings)[0]


@contextlib.contextmanager
def _writing(settings: Settings) -> Iterator[None]:
    """Keep other processes from writing the file meanwhile, and say what to do where it cannot be written."""
    path = settings.data / FILE
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sys.platform == "win32":
            yield
            return
        directory = os.open(settings.data, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)  # for as long as it takes to write one line
            yield
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        hint = "set CORRAL_SECRET_KEY to the base64 of 32 random bytes"
        raise BadRequest(f"{path} cannot be made to hold the key of the secrets here: {error}; {hint}") from error


def _read(settings: Settings) -> str | None:
    path = settings.data / FILE
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} holds the key of the secrets here and cannot be read: {error}") from error


def _write(settings: Settings, lines: list[str]) -> None:
    """Write the file anew: whole, or not at all. What others that were killed had begun to write goes."""
    path = settings.data / FILE
    for begun in settings.data.glob(f"{FILE}.*"):
        begun.unlink()
    fresh = path.with_name(f"{FILE}.{new_token(6)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())  # what is encrypted with it is worth nothing without it
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", text) if part]


def _parsed(text: str, source: str) -> list[MasterKey]:
    return [_key(part, source) for part in _parts(text)] or [_key("", source)]


def _key(text: str, source: str) -> MasterKey:
    try:
        key = base64.b64decode(text, altchars=b"-_" if "-" in text or "_" in text else None, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        make = "`openssl rand -base64 32` makes one; several have commas between"
        raise BadRequest(f"{source} must be the base64 of {KEY_BYTES} bytes; {make}", field=source)
    return MasterKey(key)
