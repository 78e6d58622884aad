"""The CLIs' own transcripts, from which sessions are resumed: only their owner reads them, and they go with their runs.

They hold what a run printed as it was printed, secrets too. Of each session a note is kept of the runs that go on with
it: `sessions/<session>/<run>`, whose content is where the CLI keeps its things. Nobody but we ourselves says so.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from corral.base.logs import get_logger

_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RUN = re.compile(r"[0-9A-Za-z_-]{1,100}")

log = get_logger()


def home(env: Mapping[str, str]) -> Path:
    """Return where Claude Code keeps its things, by the environment that it gets."""
    if env.get("CLAUDE_CONFIG_DIR"):
        return Path(env["CLAUDE_CONFIG_DIR"])
    return Path(env.get("HOME") or Path.home()) / ".claude"


def guard(home: Path) -> None:
    """Let nobody else look into the transcripts: Claude Code keeps long outputs in files that all may read."""
    folder = home / "projects"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        log.warning("others may be able to read the transcripts of runs", folder=str(folder), error=str(error))


class Transcripts:
    """The notes."""

    def __init__(self, folder: Path) -> None:
        """Take where they are; it is made when there is something to note."""
        self._folder = folder

    def note(self, session_id: str, run_id: str, home: Path) -> None:
        """Note that a run goes on with this session."""
        if not (_SESSION.fullmatch(session_id) and _RUN.fullmatch(run_id)):
            log.warning("a session's transcript will not be deleted with its run", session=session_id, run=run_id)
            return
        folder = self._folder / session_id
        try:
            for one in (self._folder, folder):
                one.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / run_id).write_text(str(home))
        except OSError as error:
            log.warning("a session's transcript will not be deleted with its run", session=session_id, error=str(error))

    def forget(self, run_id: str, heirs: Iterable[str] = ()) -> int:
        """Delete the transcripts that a run had alone, and return how many; `heirs` will go on with its sessions.

        Blocks. Doing it again makes up for what was cut off.
        """
        if not _RUN.fullmatch(run_id):
            return 0
        gone = 0
        for note in self._folder.glob(f"*/{run_id}"):
            home = note.read_text()
            for heir in heirs:
                self.note(note.parent.name, heir, Path(home))
            if sum(1 for _ in note.parent.iterdir()) == 1:
                _delete(Path(home), note.parent.name)
                gone += 1
            note.unlink()
            with contextlib.suppress(OSError):  # others go on with it
                note.parent.rmdir()
        return gone


def _delete(home: Path, session_id: str) -> None:
    """Delete what Claude Code keeps by a session's name."""
    for path in (*home.glob(f"*/{session_id}*"), *home.glob(f"projects/*/{session_id}*")):
        if path.name != session_id and not path.name.startswith((f"{session_id}.", f"{session_id}-")):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
