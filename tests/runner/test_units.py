"""The small parts: settings, identity, environment, workspace, clocks, tokens, trimming, journal, CLIs, locks."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from corral.base.errors import BadRequest, Conflict
from corral.runner import clis, environment, journal, trim, workspace
from corral.runner.clocks import Clocks
from corral.runner.failure import Failure
from corral.runner.identity import Identity
from corral.runner.locks import Locks
from corral.runner.settings import from_env
from corral.runner.tokens import FRAME_SECONDS, Tokens
from corral.runner.tree import Process
from corral.wire.events import TokenFrame
from corral.wire.runner import CommandStatus, Limits

# -- settings ---------------------------------------------------------------------------------------------------------


def env_of(folder: Path, **more: str) -> dict[str, str]:
    return {"CORRAL_URL": "https://corral.example", "CORRAL_API_KEY": "crl_x", "ALLOWED_DIRS": str(folder), **more}


def test_settings_come_from_the_environment_and_flags_win(folder: Path) -> None:
    env = env_of(folder, RUNNER_NAME="a", CORRAL_LABELS="gpu, fast", CORRAL_PASS_ENV="X,Y", CORRAL_MAX_PODS="7")
    settings = from_env(env)
    assert (settings.name, settings.labels, settings.pass_env) == ("a", ("gpu", "fast"), ("X", "Y"))
    assert (settings.max_pods, settings.allowed_dirs) == (7, (str(folder),))
    assert from_env(env, name="b", max_pods=1).name == "b"


def test_the_key_may_come_from_a_file_and_is_never_shown(folder: Path) -> None:
    (folder / "key").write_text("crl_secret\n")
    settings = from_env(env_of(folder, CORRAL_API_KEY="", CORRAL_API_KEY_FILE=str(folder / "key")))
    assert settings.api_key == "crl_secret"
    assert "crl_secret" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"CORRAL_URL": ""}, "CORRAL_URL"),
        ({"CORRAL_URL": "corral.example"}, "CORRAL_URL"),
        ({"CORRAL_URL": "http://me:secret@corral.example"}, "CORRAL_URL"),
        ({"CORRAL_API_KEY": ""}, "CORRAL_API_KEY"),
        ({"CORRAL_API_KEY": "a\nb"}, "CORRAL_API_KEY"),
        ({"ALLOWED_DIRS": ""}, "ALLOWED_DIRS"),
        ({"ALLOWED_DIRS": "/nowhere/at/all"}, "ALLOWED_DIRS"),
        ({"ALLOWED_DIRS": "code"}, "ALLOWED_DIRS"),
        ({"CORRAL_MAX_PODS": "many"}, "CORRAL_MAX_PODS"),
        ({"CORRAL_MAX_PODS": "0"}, "CORRAL_MAX_PODS"),
        ({"CORRAL_PARENT_PIPE": "x"}, "CORRAL_PARENT_PIPE"),
    ],
)
def test_a_wrong_setting_is_named(folder: Path, change: dict[str, str], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        from_env(env_of(folder, **change))
    assert caught.value.field == field
    assert field in caught.value.message or field.removeprefix("CORRAL_").lower() in caught.value.message
    assert "secret" not in caught.value.message


def test_allowed_directories_are_separated_by_colons_or_commas_and_resolved(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
    (folder / "link").symlink_to(folder / "b")
    allowed = from_env(env_of(folder, ALLOWED_DIRS=f"{folder}/a:{folder}/link,{folder}/b")).allowed_dirs
    assert allowed == (f"{folder}/a", f"{folder}/b")


# -- identity ---------------------------------------------------------------------------------------------------------


def test_a_data_directory_is_one_runner_with_one_uid(folder: Path) -> None:
    first = Identity(folder / "data")
    with pytest.raises(Conflict, match=f"Another runner \\(pid {os.getpid()}\\)"):
        Identity(folder / "data")
    first.release()
    second = Identity(folder / "data")
    assert first.uid == second.uid
    second.release()
    assert (folder / "data").stat().st_mode & 0o777 == 0o700
    assert (folder / "data" / "runner.json").stat().st_mode & 0o777 == 0o600


def test_a_uid_that_was_cut_off_is_made_anew(folder: Path) -> None:
    (folder / "runner.json").write_text('{"uid": "01')
    Identity(folder).release()
    assert len(json.loads((folder / "runner.json").read_text())["uid"]) == 36


# -- environment ------------------------------------------------------------------------------------------------------


def test_only_named_variables_pass_and_the_key_never() -> None:
    env = dict.fromkeys(
        "PATH HOME LC_ALL ANTHROPIC_BASE_URL CLAUDE_CONFIG_DIR HTTPS_PROXY no_proxy NODE_EXTRA_CA_CERTS IS_SANDBOX"
        " AWS_SECRET_ACCESS_KEY PYTHONPATH LD_PRELOAD CORRAL_API_KEY CORRAL_API_KEY_FILE CORRAL_URL MINE".split(),
        "v",
    )
    passed = environment.scrub(env, ["MINE", "CORRAL_API_KEY", "CORRAL_API_KEY_FILE"])
    assert set(passed) == set(
        "PATH HOME LC_ALL ANTHROPIC_BASE_URL CLAUDE_CONFIG_DIR HTTPS_PROXY no_proxy NODE_EXTRA_CA_CERTS IS_SANDBOX"
        " MINE".split()
    )


def test_a_server_cannot_change_the_mark() -> None:
    assert environment.for_run("r", {"CORRAL_RUN": "other", "A": "b"}) == {"CORRAL_RUN": "r", "A": "b"}


# -- workspace --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cwd", ["/", "/etc", "{0}-not", "{0}/..", "{0}/out", "{0}/deep/../..", "work", "{0}\0", ""])
async def test_directories_outside_are_refused_by_name(folder: Path, cwd: str) -> None:
    allowed = folder / "work"
    (allowed / "deep").mkdir(parents=True)
    (folder / "work-not").mkdir()
    (allowed / "out").symlink_to(folder / "work-not")
    with pytest.raises(Failure) as caught:
        await workspace.resolve(cwd.format(allowed), [str(allowed)])
    assert caught.value.code == "directory_not_allowed"
    assert str(allowed) in caught.value.hint


async def test_directories_inside_are_allowed_and_resolved(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    assert await workspace.resolve(f"{folder}/link", [str(folder)]) == f"{folder}/real"
    assert await workspace.resolve(f"{folder}/real/", ["/nowhere", str(folder)]) == f"{folder}/real"
    assert await workspace.resolve("/etc", ["/"]) == "/etc"


async def test_a_file_is_not_a_directory(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(Failure, match="not a directory"):
        await workspace.resolve(f"{folder}/file", [str(folder)])


# -- clocks -----------------------------------------------------------------------------------------------------------


def test_silence_and_length_are_limited_and_waiting_for_people_is_not() -> None:
    clocks = Clocks(Limits(idle_seconds=10, run_seconds=100), 0.0)
    clocks.heard(5)
    assert clocks.remaining(5) == 10
    clocks.ask("a", 6)
    clocks.ask("b", 7)
    assert clocks.remaining(1000) is None
    assert clocks.settle("a", 1000)
    assert clocks.remaining(1000) is None
    assert clocks.settle("b", 2000)
    assert not clocks.settle("b", 2000)
    assert clocks.remaining(2000) == 10
    assert clocks.expired(2009) is None
    expired = clocks.expired(2010)
    assert expired is not None
    assert expired.code == "idle_timeout"
    clocks.heard(2093)
    assert clocks.remaining(2093) == 1  # six seconds of the hundred were used before anybody was asked
    expired = clocks.expired(2094)
    assert expired is not None
    assert expired.code == "run_timeout"


def test_no_limits_are_no_limits_once_the_worker_spoke() -> None:
    clocks = Clocks(Limits(idle_seconds=None, run_seconds=None), 0.0)
    assert clocks.remaining(0.0) is not None
    clocks.heard(1.0)
    assert clocks.remaining(1e9) is None


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_consecutive_pieces_of_a_block_become_one_frame() -> None:
    tokens = Tokens()
    for frame in [("a", 0, "x"), ("a", 1, "yz"), ("b", 0, "q"), ("b", 5, "gap")]:
        tokens.add(TokenFrame(*frame))
    frames = tokens.take(0.0)
    assert [(f.block, f.offset, f.text) for f in frames] == [("a", 0, "xyz"), ("b", 0, "q"), ("b", 5, "gap")]
    tokens.add(TokenFrame("a", 3, "!"))
    assert tokens.take(2.9 * FRAME_SECONDS) == []
    assert tokens.due_in(0.0) == pytest.approx(3 * FRAME_SECONDS)
    assert len(tokens.take(0.0, early=True)) == 1
    assert tokens.due_in(0.0) is None


# -- trimming ---------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.integers(-9, 9) | st.sampled_from(["", "a\né", "x" * 700, "é\n" * 900]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text("kl", max_size=4), inner, max_size=6),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["text", "input", "output"]), values))
@examples(max_examples=40)
def test_a_trimmed_payload_keeps_its_keys_and_a_small_one_all(payload: dict[str, object]) -> None:
    data = msgspec.json.encode(payload)
    assert trim.trim(data) == data
    shorter = trim.trim(data, 1000)
    assert list(msgspec.json.decode(shorter)) == list(payload)
    assert len(shorter) <= max(1000, len(data))


def test_two_actions_that_differ_only_in_what_is_cut_stay_different() -> None:
    cut = [trim.trim(msgspec.json.encode({"input": {"content": "x" * 500_000 + end}})) for end in "ab"]
    assert cut[0] != cut[1]
    assert max(map(len, cut)) <= trim.MOST_BYTES


def test_very_many_small_things_are_left_out_by_name() -> None:
    payload = msgspec.json.encode({"request_id": "r", "input": {str(i): i for i in range(100_000)}, "l": [1] * 200_000})
    shorter = msgspec.json.decode(trim.trim(payload))
    assert shorter["request_id"] == "r"
    assert "left out" in shorter["input"]["left_out"]
    assert isinstance(shorter["l"], list)


# -- journal ----------------------------------------------------------------------------------------------------------


def test_a_successor_reads_what_counts_and_skips_what_was_cut_off(folder: Path) -> None:
    path = folder / "journal"
    first = journal.Journal(path)
    first.begin()
    first.started(Process(1, "a"), "run-1")
    first.started(Process(2, "b"), "run-2")
    first.gone("run-1")
    first.begun("c1")
    first.done("c1", CommandStatus.DONE, "")
    first.begun("c2")
    first.close()
    path.write_bytes(path.read_bytes() + b'{"line":"gone","run_id":"run-2')
    second = journal.Journal(path)
    assert [one.process for one in second.state.processes] == [Process(2, "b")]
    assert list(second.state.begun) == ["c1", "c2"]
    assert list(second.state.done) == ["c1"]
    second.begin()
    second.told("c1")
    second.close()
    third = journal.Journal(path)
    assert third.state.processes == []
    assert list(third.state.told) == ["c1"]


def test_a_journal_does_not_grow_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "REWRITE_LINES", 50)
    monkeypatch.setattr(journal, "REMEMBERED", 10)
    made = journal.Journal(folder / "journal")
    made.begin()
    made.started(Process(9, "z"), "lives")
    for number in range(200):
        made.started(Process(number, "a"))  # a spare, until it gets a run
        made.started(Process(number, "a"), f"run-{number}")
        made.gone(f"run-{number}")
        made.begun(f"c{number}")
        made.done(f"c{number}", CommandStatus.DONE, "")
        made.told(f"c{number}")
    made.close()
    assert (folder / "journal").read_bytes().count(b"\n") < 250
    again = journal.Journal(folder / "journal").state
    assert [one.run_id for one in again.processes] == ["lives"]
    assert "c199" in again.told


def test_a_journal_on_a_full_disk_keeps_what_it_has_and_no_file_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = journal.Journal(folder / "journal")
    made.begin()
    made.begun("c1")
    write, before = os.write, len(os.listdir("/dev/fd"))  # noqa: PTH208 - ours, open now

    def short(fd: int, data: memoryview) -> int:
        if len(data) < 10:
            raise OSError(28, "No space left on device")
        return write(fd, data[: len(data) // 2])

    with monkeypatch.context() as full:
        full.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            made.begun("c2")
        made.gone("run-1")
        with pytest.raises(OSError, match="No space"):
            made.begin()
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208 - as above
    made.close()
    assert list(journal.Journal(folder / "journal").state.begun) == ["c1"]


# -- CLIs -------------------------------------------------------------------------------------------------------------


def fake_cli(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


async def test_clis_are_found_with_version_and_sign_in(folder: Path) -> None:
    fake_cli(folder, "codex", "echo codex-cli 0.169.0")
    fake_cli(folder, "openclaw", "exit 1")
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}
    found = {cli.engine.value: cli for cli in await clis.detect(env)}
    assert (found["codex"].version, found["codex"].signed_in) == ("0.169.0", False)
    assert "openclaw" not in found
    (folder / ".codex").mkdir()
    (folder / ".codex" / "auth.json").write_text("{}")
    assert {cli.engine: cli.signed_in for cli in await clis.detect(env)}[found["codex"].engine]


async def test_claude_is_found_and_how_it_is_signed_in(folder: Path) -> None:
    env = {"PATH": str(folder), "HOME": str(folder)}

    async def claude() -> tuple[bool, str]:
        cli = next((cli for cli in await clis.detect(env) if cli.engine == "claude-code"), None)
        if cli is None:
            pytest.skip("claude-agent-sdk is not installed")
        assert cli.version[0].isdigit()
        return cli.signed_in, cli.detail

    signed_in, advice = await claude()
    assert not signed_in
    assert os.access(advice.split("`")[1], os.X_OK)  # it is not on the path
    (folder / ".claude.json").write_text('{"oauthAccount": {"emailAddress": "x"}}')
    assert await claude() == (True, "with a Claude account")
    env["ANTHROPIC_API_KEY"] = "sk-secret"
    assert await claude() == (True, "by ANTHROPIC_API_KEY")


async def test_a_cli_that_hangs_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clis, "VERSION_SECONDS", 0.2)
    fake_cli(folder, "codex", "exec sleep 60")
    found = await clis.detect({"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)})
    assert "codex" not in {cli.engine.value for cli in found}


# -- locks ------------------------------------------------------------------------------------------------------------


async def test_a_name_is_held_by_one_owner_at_a_time() -> None:
    locks, first, second = Locks(), object(), object()
    assert await locks.hold(first, ["run", "session"], 1.0)
    assert await locks.hold(first, ["run"], 1.0)
    assert not await locks.hold(second, ["session"], 0.05)
    waiting = asyncio.create_task(locks.hold(second, ["session"], 5.0))
    await asyncio.sleep(0)
    await locks.release(first)
    assert await waiting
    locks.add(first, "session")
    assert not await locks.hold(first, ["session"], 0.05)
