"""`corral up` and `corral serve` as processes: what they print, who may start them, and how they end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Command
from tests.conftest import ServerMaker
from tests.support.processes import gone, is_alive
from tests.support.server import Server
from tests.support.waiting import eventually

LINK = re.compile(r"http://127\.0\.0\.1:\d+/app/sign-in#[\w-]{20,}")
KEY = re.compile(r"crl_live_[\w-]{20,}")


def printed(server: Server) -> str:
    server.process.wait_for_line("Stop with ^C")
    return server.process.output()


def runner_of(server: Server) -> int:
    """The pid of the child runner, once it has taken its directory."""
    return int(eventually(lambda: (server.data / "runner" / "runner.lock").read_text().strip(), what="a runner"))


def online(server: Server) -> list[dict[str, Any]]:
    with server.api() as api:
        shown: list[dict[str, Any]] = api.get("/api/v1/runners").raise_for_status().json()["runners"]
    return [runner for runner in shown if runner["status"] == "online"]


def test_the_first_start_prints_a_way_in_a_key_and_a_call_and_later_ones_a_way_in(
    make_server: ServerMaker, folder: Path
) -> None:
    server = make_server(command="up", arguments=("--no-runner",), env={"CORRAL_BOOTSTRAP_KEY": ""}, cwd=folder)
    first = printed(server)
    assert LINK.search(first)
    key = KEY.search(first)
    assert key
    assert "\x1b" not in first
    assert httpx.get(f"{server.url}/api/v1/runs", headers={"Authorization": f"Bearer {key[0]}"}).status_code == 200
    launches_a_run(first)
    local = server.data / "key"  # the owner's alone, and not the one that is printed
    assert stat.S_IMODE(local.stat().st_mode) == 0o600
    assert local.read_text().strip() not in first
    server.process.signal(signal.SIGTERM)
    assert server.process.wait() == 0
    begins = len(first)
    server.restart()
    eventually(lambda: "Stop with ^C" in server.process.output()[begins:])
    second = server.process.output()[begins:]
    assert LINK.search(second)
    assert LINK.findall(first) != LINK.findall(second)
    assert not KEY.search(second)


def launches_a_run(text: str) -> None:
    """Do what the printed curl does."""
    words = shlex.split(text[text.index("curl -X POST") : text.index("Stop with")])
    url, body = words[3], words[words.index("-d") + 1]
    headers = dict(words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H")
    answer = httpx.post(url, headers=headers, content=body)
    assert answer.status_code == 201, answer.text


def test_a_second_server_in_a_held_directory_or_on_a_port_in_use_is_refused_and_told_why(
    make_server: ServerMaker, corral: Command, folder: Path
) -> None:
    server = make_server(command="up", arguments=("--no-runner",))
    second = corral("up", "--port", "0", server=server)
    assert second.code == 1
    assert server.url in second.err
    assert str(server.process.pid) in second.err
    third = corral("up", "--no-runner", "--port", str(server.port), "--data", str(folder / "other"))
    assert third.code == 2
    assert str(server.port) in third.err
    assert "--port" in third.err


def test_what_a_killed_server_left_does_not_stop_the_next(make_server: ServerMaker, corral: Command) -> None:
    server = make_server(command="up", arguments=("--no-runner",))
    server.kill()
    assert (server.data / "server.json").exists()
    server.restart()
    assert corral("runs", server=server).code == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_server_and_runner_cleanly(make_server: ServerMaker, name: str) -> None:
    server = make_server(command="up")
    eventually(lambda: online(server), what="the child runner is online")
    runner = runner_of(server)
    server.process.signal(signal.Signals[name])
    assert server.process.wait() == 0
    assert not is_alive(runner)
    assert not (server.data / "server.json").exists()


def test_a_runner_whose_server_is_killed_ends_too(make_server: ServerMaker) -> None:
    server = make_server(command="up")
    runner = runner_of(server)
    server.kill()
    gone(runner, within=15)


def test_the_child_runner_may_work_where_up_was_started_knows_no_secret_of_the_server_and_is_started_again(
    make_server: ServerMaker, folder: Path
) -> None:
    server = make_server(command="up", cwd=folder)
    runner = eventually(lambda: online(server))[0]
    pid = runner_of(server)
    env = dict(pair.split("=", 1) for pair in Path(f"/proc/{pid}/environ").read_text().split("\0") if pair)
    assert env["ALLOWED_DIRS"] == str(folder)
    assert "CORRAL_BOOTSTRAP_KEY" not in env
    assert os.getsid(pid) != os.getsid(server.process.pid)
    assert runner["name"]
    assert "pydantic" not in Path(f"/proc/{pid}/maps").read_text()  # nor is there a command line in its memory
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: runner_of(server) not in {0, pid}, what="another runner")
    eventually(lambda: server.process.output().count("registered") == 2, what="the server knows it")
    assert online(server)
    assert "SIGKILL" in server.process.output()


def test_allowed_directories_that_are_none_are_refused_at_once(corral: Command, folder: Path) -> None:
    done = corral("up", "--port", "0", "--data", str(folder / "d"), ALLOWED_DIRS="/there/is/no/such/place")
    assert done.code == 2
    assert "/there/is/no/such/place" in done.err


def test_server_json_says_where_the_server_is(make_server: ServerMaker) -> None:
    server = make_server()
    printed(server)
    assert json.loads((server.data / "server.json").read_text()) == {"pid": server.process.pid, "url": server.url}


def test_serve_needs_a_database_and_says_so(corral: Command) -> None:
    done = corral("serve", "--port", "0")
    assert done.code == 2
    assert "CORRAL_DATABASE_URL" in done.err


def test_many_serve_one_database(migrated_postgres_url: str, make_server: ServerMaker) -> None:
    env = {"CORRAL_DATABASE_URL": migrated_postgres_url}
    one, two = make_server(env=env), make_server(env=env)
    with one.api() as api:
        made = api.post("/api/v1/runs", body={"prompt": "hi", "cwd": "/srv"}).raise_for_status().json()
    with two.api(one.key) as api:
        assert api.get("/api/v1/runs/:id", made["id"]).status_code == 200


def test_a_runner_without_directories_does_not_start(corral: Command) -> None:
    done = corral("runner", "--url", "http://127.0.0.1:1", CORRAL_API_KEY="crl_live_x")
    assert done.code == 2
    assert "ALLOWED_DIRS" in done.err


def test_files_where_up_is_started_are_no_part_of_it(make_server: ServerMaker, folder: Path) -> None:
    (folder / "queue.py").write_text("raise SystemExit('this is somebody else')\n")
    (folder / "corral").mkdir()
    (folder / "corral" / "__main__.py").write_text("raise SystemExit('this is somebody else')\n")
    server = make_server(command="up", started=False, cwd=folder)
    server.process.command.insert(1, "-P")  # as the installed script does
    server.start()
    eventually(lambda: online(server), what="the child runner is online")
    assert "somebody else" not in server.process.output()
