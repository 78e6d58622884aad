"""Where the master key comes from: `CORRAL_SECRET_KEY`, else a file in the data directory, made when first needed."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from pathlib import Path

from corral.base.errors import BadRequest
from corral.base.ids import new_token
from corral.platform.settings import Settings
from corral.secrets.cipher import KEY_BYTES, MasterKey, new_key

_FILE = "secret.key"


def told(settings: Settings) -> MasterKey | None:
    """Return the key that the settings hold; BadRequest if that is none."""
    return _parsed(settings.secret_key, "CORRAL_SECRET_KEY") if settings.secret_key else None


def kept(settings: Settings) -> MasterKey | None:
    """Return the key of the data directory, None if there is none yet."""
    path = settings.data / _FILE
    try:
        return _parsed(path.read_text(encoding="ascii").strip(), str(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} holds the key of the secrets here and cannot be read: {error}") from error


def made(settings: Settings) -> MasterKey:
    """Make the key of the data directory, for its owner's eyes alone, or return what another server made meanwhile."""
    path = settings.data / _FILE
    fresh = path.with_name(f"{_FILE}.{new_token(6)}")
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(fresh, base64.b64encode(new_key()).decode() + "\n")
        try:
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)  # whole, or not at all
        finally:
            fresh.unlink()
    except OSError as error:
        hint = "set CORRAL_SECRET_KEY to the base64 of 32 random bytes"
        raise BadRequest(f"{path} cannot be made to hold the key of the secrets here: {error}; {hint}") from error
    key = kept(settings)
    assert key is not None
    return key


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # what is encrypted with it is worth nothing without it


def _parsed(text: str, source: str) -> MasterKey:
    try:
        key = base64.b64decode(text, altchars=b"-_" if "-" in text or "_" in text else None, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        make = "`openssl rand -base64 32` makes one"
        raise BadRequest(f"{source} must be the base64 of {KEY_BYTES} bytes; {make}", field=source)
    return MasterKey(key)
