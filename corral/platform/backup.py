"""Backups of the embedded database: one compressed archive each, taken while a server works, believed once checked.

The database alone goes in: no key of any kind, so that what is sealed in there stays so. SQLite copies it as it was at
one moment, without what was deleted, and keeps no writer waiting. An archive has its name when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

import corral
from corral.base.errors import BadRequest, Conflict, CorralError
from corral.platform.database import APPS

if sys.platform != "win32":
    import fcntl

#: Of the archive: what it holds, and how its parts are named.
FORMAT = 1
_DATABASE, _MANIFEST = "corral.db", "manifest.json"
#: Where an archive is made or taken apart, beside what it is for: one that is nobody's any more goes with the next.
_ROOM = ".corral-backup-"
#: Seconds in which such a room is not looked at.
_YOUNG = 10.0
_PIECE = 1024 * 1024
_MOST_MANIFEST = 1024 * 1024
_ENCRYPTED = 1  # of a part's flags

#: Called with what is being done, and how much of it is.
Tell = Callable[[str, float], None]
#: Called with a database's copy before anybody relies on it; raises what speaks against it.
Inspect = Callable[[Path], None]


class Manifest(msgspec.Struct, frozen=True):
    """What an archive says of itself."""

    format: int
    version: str  #: of the Corral that made it
    made_at: str  #: RFC 3339: the moment that it holds
    schema: dict[str, str]  #: sub-package → its newest migration
    keys: list[str]  #: fingerprints of the master keys that its secrets are sealed under
    bytes: int  #: of the database in it
    sha256: str  #: of the same


def write(database: Path, archive: Path, *, tell: Tell, inspect: Inspect) -> Manifest:
    """Make an archive of a database that others may be writing to. Conflict: there is something by that name."""
    if archive.exists():
        raise Conflict(f"{archive} is there already; a backup replaces nothing")
    with _room(archive.parent) as room, _told_of(database):
        made_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        copy = room / _DATABASE
        _copy(database, copy, tell)
        inspect(copy)
        packed = room / "archive"
        manifest = _pack(copy, made_at, packed, tell)
        _publish(packed, archive)
    return manifest


def check(archive: Path, *, tell: Tell, inspect: Inspect) -> Manifest:
    """Read all of an archive; BadRequest if it is not whole, or not one that this Corral can restore."""
    with tempfile.TemporaryDirectory(prefix=_ROOM) as folder, _told_of(archive):
        return _unpack(archive, Path(folder) / _DATABASE, tell, inspect)


def restore(archive: Path, data: Path, *, replace: bool, tell: Tell, inspect: Inspect) -> tuple[Manifest, Path | None]:
    """Put an archive's database into a data directory that the caller holds; returns where the one before it is now.

    Whatever stops it, the directory has the one or the other, whole.
    """
    current = data / _DATABASE
    if current.exists() and not replace:
        raise Conflict(f"{data} has a database already; --replace keeps it aside and takes the backup's")
    with _room(data) as room, _told_of(archive):
        fresh = room / _DATABASE
        manifest = _unpack(archive, fresh, tell, inspect)
        with closing(_opened(fresh, "rw")) as connection:
            # For the server that starts on it. Who was restored before, and not started since, keeps its mark.
            connection.execute("CREATE TABLE IF NOT EXISTS restored (made_at TEXT NOT NULL)")
            connection.execute(
                "INSERT INTO restored SELECT ? WHERE NOT EXISTS (SELECT 1 FROM restored)", (manifest.made_at,)
            )
        _sync(fresh)
        aside = _keep_aside(data) if current.exists() else None
        fresh.replace(current)
        _sync(data)
    return manifest, aside


def data_keys(database: Path) -> list[tuple[int, str, bytes]]:
    """Return for each org with secrets its number, the fingerprint of its master key, and its sealed data key."""
    with closing(_opened(database)) as connection:
        return connection.execute("SELECT org_id, master, wrapped FROM data_keys ORDER BY org_id").fetchall()


def _copy(database: Path, copy: Path, tell: Tell) -> None:
    """Write what is committed now into a file of its own, which `VACUUM INTO` reads as of one moment."""
    if not database.exists():
        raise BadRequest(f"{database.parent} has no database to back up")
    with closing(_opened(database, "rw")) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        most = max((pages - free) * size, 1)
        connection.set_progress_handler(lambda: tell("Copying", min(_size(copy) / most, 1)), 100_000)
        copy.touch(mode=0o600)
        connection.execute("VACUUM INTO ?", (str(copy),))
    tell("Copying", 1)


def _pack(copy: Path, made_at: str, packed: Path, tell: Tell) -> Manifest:
    _examine(copy)
    with closing(_opened(copy)) as connection:
        schema = dict(connection.execute("SELECT app, max(name) FROM tortoise_migrations GROUP BY app").fetchall())
        keys = [row[0] for row in connection.execute("SELECT DISTINCT master FROM data_keys ORDER BY master")]
    size = copy.stat().st_size
    packed.touch(mode=0o600)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        with copy.open("rb") as source, archive.open(_DATABASE, "w", force_zip64=True) as target:
            digest = _pour(source, target, size, "Compressing", tell)
        manifest = Manifest(FORMAT, corral.__version__, made_at, schema, keys, size, digest)
        archive.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def _unpack(archive: Path, copy: Path, tell: Tell, inspect: Inspect) -> Manifest:
    """Write the database of an archive into a file, having looked at all of it."""
    try:
        with zipfile.ZipFile(archive) as opened:
            manifest = _described(opened)
            copy.touch(mode=0o600)
            with opened.open(_DATABASE) as source, copy.open("wb") as target:
                digest = _pour(source, target, manifest.bytes, "Reading", tell)
    except (zipfile.BadZipFile, KeyError, EOFError, zlib.error, msgspec.DecodeError) as error:
        raise BadRequest(f"{archive} is no backup of Corral, or not a whole one: {error}") from error
    if (copy.stat().st_size, digest) != (manifest.bytes, manifest.sha256):
        raise BadRequest(f"{archive} is damaged: its database is not the one that was put into it")
    _examine(copy)
    inspect(copy)
    return manifest


def _described(opened: zipfile.ZipFile) -> Manifest:
    """Return the manifest. BadRequest: it was made by a Corral that knows more than this one."""
    if any(part.compress_type != zipfile.ZIP_DEFLATED or part.flag_bits & _ENCRYPTED for part in opened.infolist()):
        raise zipfile.BadZipFile("it is packed in another way")
    if opened.getinfo(_MANIFEST).file_size > _MOST_MANIFEST:
        raise zipfile.BadZipFile("its manifest is too long")
    told = opened.read(_MANIFEST)
    manifest = msgspec.json.decode(told, type=Manifest)
    unknown = [f"{app} {name}" for app, name in manifest.schema.items() if name not in _migrations(app)]
    if manifest.format > FORMAT or unknown:
        raise BadRequest(
            f"This backup was made by Corral {manifest.version}, and this one, {corral.__version__}, does not know its "
            f"{'tables (' + ', '.join(unknown) + ')' if unknown else 'format'}: use that version or a newer one"
        )
    return manifest


def _migrations(app: str) -> set[str]:
    if app not in APPS:
        return set()
    return {path.stem for path in (Path(corral.__file__).parent / app / "migrations").glob("[0-9]*.py")}


def _examine(copy: Path) -> None:
    with closing(_opened(copy)) as connection:
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
    if found != "ok":
        raise BadRequest(f"The database is damaged: {found}")


def _pour(source: IO[bytes], target: IO[bytes], size: int, doing: str, tell: Tell) -> str:
    digest, done = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        target.write(piece)
        done += len(piece)
        if done > size:
            raise zipfile.BadZipFile("it is longer than it says")
        tell(doing, done / size)
    return digest.hexdigest()


def _publish(packed: Path, archive: Path) -> None:
    """Give the whole archive its name, unless something has that by now."""
    _sync(packed)
    try:
        archive.hardlink_to(packed)
    except FileExistsError:
        raise Conflict(f"{archive} is there already; a backup replaces nothing") from None
    except OSError:  # a file system without links
        if archive.exists():
            raise Conflict(f"{archive} is there already; a backup replaces nothing") from None
        packed.rename(archive)
    _sync(archive.parent)


def _keep_aside(data: Path) -> Path:
    """Link the present database into a folder of its own; its name is free for another in one step."""
    current = data / _DATABASE
    aside = Path(tempfile.mkdtemp(prefix=f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-", dir=data))
    try:
        with closing(_opened(current, "rw")) as connection:  # what is in its log goes into the file
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.DatabaseError:
        pass  # damaged, which may be why: it goes as it is, with its log
    for left in (f"{_DATABASE}-wal", f"{_DATABASE}-shm"):
        if (data / left).exists():
            (data / left).rename(aside / left)
    try:
        (aside / _DATABASE).hardlink_to(current)
    except OSError:  # a file system without links
        shutil.copy2(current, aside / _DATABASE)
    _sync(aside)
    return aside


@contextmanager
def _room(folder: Path) -> Iterator[Path]:
    """Yield a folder to work in, for this process alone, and remove what those have left that were killed in theirs."""
    for left in folder.glob(f"{_ROOM}*"):
        if time.time() - left.stat().st_mtime < _YOUNG:
            continue  # it may not have been locked yet
        with _held(left) as is_nobodys:
            if is_nobodys:
                shutil.rmtree(left, ignore_errors=True)
    room = Path(tempfile.mkdtemp(prefix=_ROOM, dir=folder))
    try:
        with _held(room):
            yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _told_of(file: Path) -> Iterator[None]:
    """Say of which file SQLite says so: that it is damaged, or another program's, or that the disk is full."""
    try:
        yield
    except sqlite3.Error as error:
        raise CorralError(f"{file}: {error}") from error


@contextmanager
def _held(room: Path) -> Iterator[bool]:
    """Lock a folder while the context lasts, and say whether nobody else had."""
    if sys.platform == "win32":
        yield False
        return
    handle = os.open(room, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _opened(path: Path, mode: str = "ro") -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, isolation_level=None)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sync(path: Path) -> None:
    """Make sure that a power cut does not take it; Windows syncs no folders."""
    if sys.platform == "win32" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
