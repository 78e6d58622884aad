"""Who holds a data directory."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from corral.cli.datadir import DataDir, Held, default_path


def test_a_second_holder_is_refused_and_told_who_and_where(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path / "d"), DataDir(tmp_path / "d")
    with first.locked("corral up"), first.announced("http://127.0.0.1:3000"):
        with pytest.raises(Held) as refused, second.locked("corral up"):
            pass
        assert str(os.getpid()) in refused.value.message
        assert "http://127.0.0.1:3000" in refused.value.message
        assert "--data" in refused.value.hint


def test_what_a_killed_server_left_is_not_believed(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    with directory.locked("corral up"):
        (tmp_path / "server.json").write_text('{"pid": 1, "url": "http://127.0.0.1:1"}')
        assert directory.server() is not None
    assert directory.server() is None


def test_a_short_holder_is_waited_for(tmp_path: Path) -> None:
    directory, release, held = DataDir(tmp_path), threading.Event(), threading.Event()

    def hold() -> None:
        with DataDir(tmp_path).locked("corral keys list"):
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    threading.Timer(0.2, release.set).start()
    with directory.locked("corral up", patience=10):
        pass
    thread.join()


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    DataDir(tmp_path / "a" / "b").create()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_the_directory_is_the_one_of_the_environment_else_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_path({"CORRAL_DATA": "/x"}) == Path("/x")
    assert default_path({}) == Path("/home/someone/.corral")
    assert default_path({}, demo=True) != default_path({})
