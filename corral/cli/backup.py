"""`corral backup` and `corral restore`: the embedded database in one archive, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from corral.cli import options
from corral.cli.datadir import DataDir, default_path
from corral.cli.errors import Misused
from corral.cli.terminal import Terminal, stderr, stdout

if TYPE_CHECKING:
    from corral.platform.backup import Manifest, Tell
    from corral.platform.settings import Settings

_Key = Annotated[bool, typer.Option("--key", help="Also prove that the master key at hand opens the secrets in it.")]


def backup(
    to: Annotated[
        Path,
        typer.Argument(metavar="FILE|DIR", help="The archive to make, or a directory to make one in, named by time."),
    ],
    check: Annotated[bool, typer.Option("--check", help="Read an archive that is there: is it whole?")] = False,
    key: _Key = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Back up the database of a data directory, while its server works or not. No key goes in: keep those elsewhere."""
    from corral.platform import backup as backups

    settings = _settings(data)
    proof = _Proof(settings, wanted=key)
    with _progress() as tell:
        if check:
            manifest = backups.check(to, tell=tell, inspect=proof.look)
        else:
            _refuse_postgres(settings, 'pg_dump --format=custom --file=corral.dump "$CORRAL_DATABASE_URL"')
            to = to / f"corral-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip" if to.is_dir() else to
            _refuse_nowhere(to)
            manifest = backups.write(settings.data / "corral.db", to, tell=tell, inspect=proof.look)
    if as_json:
        stdout().json({**_told(to, manifest), **({"opened": proof.opened} if key else {})})
        return
    out = stdout()
    out.line("The backup is whole." if check else "Backed up.", "green")
    _show(out, to, manifest)
    if key:
        out.line(f"The master key at hand opens the secrets of {proof.opened} org(s).")
    elif manifest.keys and not check:
        stderr().line("Its secrets need the master key, which is not in it: keep that elsewhere.", "dim")


def restore(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="An archive of `corral backup`.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of a database that is there, which is kept aside.")
    ] = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Restore a backup into a data directory that no server uses. What was not done by then is paused at the start."""
    from corral.platform import backup as backups

    settings = _settings(data)
    _refuse_postgres(settings, "pg_restore --exit-on-error --no-owner --dbname=URL corral.dump, of an empty database")
    proof = _Proof(settings, wanted=False)
    directory = DataDir(settings.data)
    with directory.locked("corral restore"), _progress() as tell:
        manifest, aside = backups.restore(archive, settings.data, replace=replace, tell=tell, inspect=proof.look)
    kept = str(aside) if aside else None
    if as_json:
        stdout().json({**_told(archive, manifest), "data": str(settings.data), "kept": kept, "opened": proof.opened})
        return
    out = stdout()
    out.line(f"Restored into {settings.data}.", "green")
    _show(out, archive, manifest)
    if kept:
        out.line(f"The database before is in {kept}")
    if proof.problem:
        stderr().line(f"{proof.problem}.", "yellow")
    out.line("What had not ended by then is paused when a server starts: look at it, then `corral continue ID`.")


class _Proof:
    """Whether the keys at hand open what is sealed in a database; a reason to stop only where that was asked for."""

    def __init__(self, settings: Settings, *, wanted: bool) -> None:
        self.opened = 0  #: orgs
        self.problem: str | None = None
        self._settings = settings
        self._wanted = wanted

    def look(self, database: Path) -> None:
        from corral.base.errors import CorralError
        from corral.platform.backup import data_keys
        from corral.secrets.proof import prove

        try:
            self.opened = prove(data_keys(database), self._settings)
        except CorralError as error:
            if self._wanted:
                raise
            self.problem = error.message


def _settings(data: Path | None) -> Settings:
    from corral.platform.settings import from_env

    return from_env(os.environ, data=(data or default_path(os.environ)).absolute())


def _refuse_postgres(settings: Settings, instead: str) -> None:
    if not settings.is_embedded:
        raise Misused(
            "The database is PostgreSQL, which has its own tools for this",
            field="CORRAL_DATABASE_URL",
            hint=f"Use them: {instead}",
        )


def _refuse_nowhere(to: Path) -> None:
    if not to.absolute().parent.is_dir():
        raise Misused(f"There is no directory {to.absolute().parent}", field="FILE|DIR")
    if not (to.suffix or to.exists()):  # or a job's first backup would take the name that all were to be below
        raise Misused(f"There is no directory {to}", field="FILE|DIR", hint=f"Make it, or name a file: {to}.zip")


def _told(file: Path, manifest: Manifest) -> dict[str, Any]:
    size = file.stat().st_size
    return {"file": str(file), "size": size, "manifest": msgspec.to_builtins(manifest)}


def _show(out: Terminal, file: Path, manifest: Manifest) -> None:
    out.facts(
        {
            "file": file,
            "size": f"{_bytes(file.stat().st_size)}, of a database of {_bytes(manifest.bytes)}",
            "as of": manifest.made_at,
            "made by": f"Corral {manifest.version}",
            "master key": ", ".join(manifest.keys) or "none needed: it holds no secrets",
        }
    )


def _bytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 1_000_000 else f"{max(size / 1000, 0.1):.1f} KB"


@contextmanager
def _progress() -> Iterator[Tell]:
    """Yield what draws a bar of how far each step is, where somebody sees it."""
    if not stderr().is_terminal:
        yield lambda _doing, _done: None
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as bars:
        steps: dict[str, TaskID] = {}

        def tell(doing: str, done: float) -> None:
            if doing not in steps:
                steps[doing] = bars.add_task(doing, total=1.0)
            bars.update(steps[doing], completed=done)

        yield tell
