"""Commands where no server runs, and where nothing is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from corral.cli import app
from corral.wire.runs import RunStatus
from tests.cli.conftest import Command
from tests.conftest import ServerMaker
from tests.support.processes import base_env
from tests.support.server import Server


@pytest.fixture
def stopped(make_server: ServerMaker) -> Server:
    """A data directory whose server has ended."""
    server = make_server()
    server.stop()
    return server


def test_a_key_made_without_a_server_opens_it_later(corral: Command, stopped: Server) -> None:
    made = corral("keys", "create", "ci", server=stopped)
    assert made.out.startswith("crl_live_"), made.err
    listed = corral("keys", "list", "--json", server=stopped).json()["data"]
    key = next(key for key in listed if key["name"] == "ci")
    assert made.out.startswith(key["prefix"])
    assert not (stopped.data / "server.json").exists()
    stopped.restart()
    assert corral("runs", CORRAL_URL=stopped.url, CORRAL_API_KEY=made.out.strip()).code == 0


def test_launching_without_a_server_says_how_to_start_one(corral: Command, stopped: Server) -> None:
    done = corral("run", "hello", server=stopped)
    assert done.code == 3
    assert "corral up" in done.err


def test_where_corral_never_ran_it_says_so(corral: Command, folder: Path) -> None:
    done = corral("runs", CORRAL_DATA=str(folder / "nothing"))
    assert done.code == 3
    assert "corral up" in done.err
    assert not (folder / "nothing").exists()


def test_a_server_that_does_not_answer_is_unreachable(corral: Command) -> None:
    done = corral("runs", CORRAL_URL="http://127.0.0.1:1", CORRAL_API_KEY="crl_live_x")
    assert done.code == 3
    assert "127.0.0.1:1" in done.err


def test_a_url_without_a_key_says_what_is_missing(corral: Command) -> None:
    done = corral("runs", CORRAL_URL="http://127.0.0.1:1")
    assert done.code == 1
    assert "CORRAL_API_KEY" in done.err


def test_a_command_that_is_not_called_right_exits_2(corral: Command) -> None:
    assert corral("run", "x", "--mode", "yolo").code == 2
    assert corral("keys", "create", "x", "--expires", "soon").code == 2
    refused = corral("runs", "--status", "asleep")
    assert refused.code == 2
    assert all(status in refused.err for status in RunStatus)


def test_help_and_version(corral: Command) -> None:
    assert corral("--version").out == f"corral {corral('version', '--json').json()['version']}\n"
    listed = corral("--help").out
    for command in (
        "up",
        "serve",
        "runner",
        "demo",
        "run",
        "runs",
        "logs",
        "followup",
        "pause",
        "continue",
        "cancel",
        "delete",
        "approvals",
        "keys",
    ):
        assert command in listed


def test_streams_that_are_full_closed_or_no_text_end_in_no_riddle(folder: Path) -> None:
    def ended(script: str) -> tuple[int, str]:
        command = ["sh", "-c", script, sys.executable, "-m", "corral"]
        done = subprocess.run(command, env=base_env(folder), cwd=folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert ended('"$0" "$@" version >/dev/full') == (1, "Error: No space left on device\n")
    assert ended('"$0" "$@" version <&- >&- 2>&-') == (0, "")
    code, said = ended('printf \'\\377\' | LC_ALL=C.UTF-8 "$0" "$@" run -')
    assert code == 2
    assert "no UTF-8 text" in said


def test_an_interrupted_start_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.cli.app._ended", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 130


def test_the_doctor_names_what_is_broken_and_the_fix(corral: Command, stopped: Server) -> None:
    (stopped.data / "key").chmod(0o644)
    done = corral("doctor", server=stopped, CORRAL_DATABASE_URL="postgres://u:hidden@127.0.0.1:1/none")
    assert done.code == 1
    assert "chmod 600" in done.out
    assert "CORRAL_DATABASE_URL" in done.out
    assert "hidden" not in done.out + done.err


def test_an_error_of_the_settings_is_a_sentence(corral: Command, folder: Path) -> None:
    done = corral("up", "--data", str(folder / "d"), CORRAL_SYNC="sometimes")
    assert done.code == 2
    assert "CORRAL_SYNC" in done.err


def test_a_database_is_migrated_on_demand(corral: Command, folder: Path) -> None:
    for _ in range(2):
        assert corral("migrate", CORRAL_DATA=str(folder / "d")).code == 0
    assert (folder / "d" / "corral.db").exists()
