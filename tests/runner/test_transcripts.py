"""What CLIs keep of a session is its owner's alone, and goes with the last run that went on with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from corral.runner import spool, transcripts
from corral.runner.settings import Settings
from corral.runner.transcripts import Transcripts
from corral.wire.events import EventType
from corral.wire.runner import Assignment, Command, CommandStatus, Forget, Held
from tests.runner.conftest import Running, command, until
from tests.runner.fake_server import FakeServer

SESSION, OTHER = "0e8a1c52-2f5b-4f0e-9a65-2b6f3c1d9e01", "0e8a1c52-2f5b-4f0e-9a65-2b6f3c1d9e02"


@pytest.fixture
def home(folder: Path) -> Path:
    return folder / "claude"


def keep(home: Path, session: str) -> list[Path]:
    """What Claude Code keeps of a session, and where."""
    files = [
        home / "projects" / "-code" / f"{session}.jsonl",
        home / "projects" / "-code" / session / "tool-results" / "b1.txt",
        home / "file-history" / session / "1",
        home / "todos" / f"{session}-agent-1.json",
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("s3cret")
    return files


def test_a_session_goes_with_the_last_run_that_went_on_with_it(folder: Path, home: Path) -> None:
    kept, others = keep(home, SESSION), keep(home, OTHER)
    notes = Transcripts(folder / "sessions")
    for run in ("run-0001", "run-0002"):
        notes.note(SESSION, run, home)
        notes.note(SESSION, run, home)  # it is resumed
    notes.note(OTHER, "run-0003", home)
    assert notes.forget("run-0001") == 0
    assert all(file.exists() for file in kept)
    assert notes.forget("run-0002", ["run-0004"]) == 0  # which has not begun
    assert all(file.exists() for file in kept)
    assert notes.forget("run-0004") == 1
    assert not any(file.exists() for file in kept)
    assert not (home / "projects" / "-code" / SESSION).exists()
    assert all(file.exists() for file in others)
    assert notes.forget("run-0004") == notes.forget("run-of-nobody") == 0
    assert [note.name for note in (folder / "sessions").iterdir()] == [OTHER]


@pytest.mark.parametrize("name", ["", "..", "../..", "*", "a/b", "x" * 101, "0e8a1c52*", SESSION.upper() + "\n"])
def test_nobody_names_what_is_not_a_sessions(folder: Path, home: Path, name: str) -> None:
    kept = keep(home, SESSION)
    notes = Transcripts(folder / "sessions")
    notes.note(name, "run-0001", home)
    notes.note(SESSION, name, home)
    notes.note(SESSION[:8], "run-0001", home)  # the beginning of another's is another
    notes.forget("run-0001")
    notes.forget(name)
    assert all(file.exists() for file in kept)


def test_nobody_else_looks_into_the_transcripts(home: Path) -> None:
    transcripts.guard(home)
    assert (home / "projects").stat().st_mode & 0o777 == 0o700
    (home / "projects").chmod(0o755)
    transcripts.guard(home)
    assert (home / "projects").stat().st_mode & 0o777 == 0o700


async def test_a_deleted_run_is_forgotten_once_nothing_of_it_is_alive(
    server: FakeServer, runner: Running, settings: Settings, assign: Callable[..., Assignment], home: Path
) -> None:
    kept = keep(home, SESSION)
    run = server.offer(assign(f"session:{SESSION} hear done:x", env={"CLAUDE_CONFIG_DIR": str(home)}))
    await until(lambda: server.payloads(run.run_id, "session.init"))
    assert (home / "projects").stat().st_mode & 0o777 == 0o700
    payload = msgspec.json.encode(Forget(run.run_id))
    asked = server.ask(Command("forget-it", "forget", "", 0, msgspec.Raw(payload)))
    with pytest.raises(TimeoutError):
        await until(lambda: asked.id in server.results, within=0.5)
    assert all(file.exists() for file in kept)
    server.ask(command("message", run, b'{"text":"go"}'))
    await until(lambda: asked.id in server.results)
    assert [(one.status, one.message) for one in server.results[asked.id]] == [
        (CommandStatus.DONE, "1 transcripts deleted")
    ]
    assert not any(file.exists() for file in kept)
    assert not [file for file in (settings.data / "spool").iterdir() if run.run_id in file.name and is_closed(file)]


def is_closed(file: Path) -> bool:
    return spool.is_closed(file)


def test_of_a_forgotten_run_no_spool_stays_that_was_sent(folder: Path) -> None:
    for attempt, (run_id, is_sent) in enumerate([("run-0001", True), ("run-0001", False), ("run-00011", True)], 1):
        made = spool.create(folder / "spool", Held(run_id, attempt, "lease"))
        made.append(EventType.RUN_COMPLETED, json.dumps({}).encode())
        if is_sent:
            made.close("stored")
        made.release()
    spool.forget(folder / "spool", "run-0001")
    left = sorted(file.name for file in (folder / "spool").iterdir())
    assert left == ["run-0001.2.jsonl", "run-00011.3.jsonl"]
