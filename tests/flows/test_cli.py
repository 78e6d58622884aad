"""The `corral` command, from a terminal without one."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.flows.fleet import Fleet
from tests.support import warm
from tests.support.processes import Process


class Cli:
    """`corral …` against the shared server, as somebody on another machine uses it."""

    def __init__(self, fleet: Fleet, home: Path) -> None:
        self.fleet = fleet
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CORRAL_URL": fleet.server.url,
            "CORRAL_API_KEY": fleet.server.key,
        }

    def start(self, *arguments: str) -> Process:
        """Begin a command that takes its time."""
        command = [sys.executable, "-m", "corral", *arguments]
        log, cwd = Path(self.env["HOME"], "follower.log"), self.fleet.runner.work
        process = Process("follower", command, env={"PYTHONUNBUFFERED": "1", **self.env}, log=log, cwd=cwd)
        process.start()
        return process

    def run(self, *arguments: str, code: int | None = 0) -> str:
        """Run a command, hold that it exits with `code`, and return what it printed."""
        ended, out, err = warm.run(arguments, env=self.env, cwd=self.fleet.runner.work)
        assert code is None or ended == code, f"{arguments} exited {ended}\n{out}\n{err}"
        self.err = err
        return out


@pytest.fixture
def cli(fleet: Fleet, folder: Path) -> Cli:
    return Cli(fleet, folder)


def test_follow_prints_the_log_now_and_later_and_exits_0_only_if_the_run_completed(cli: Cli) -> None:
    out = cli.run(
        "run", "%bash echo hi-there %% %say All is well.", "--cwd", ".", "--mode", "bypassPermissions", "--follow"
    )
    assert "All is well." in out
    assert "echo hi-there" in out
    assert "\x1b[" not in out
    run = re.search(r"run ([0-9a-f-]{36})", cli.err)
    assert run
    assert "All is well." in cli.run("logs", run[1], "--follow")
    cli.run("run", "%error 400 no", "--follow", code=1)


def test_a_run_is_cancelled_and_its_follower_exits_1(cli: Cli) -> None:
    run = cli.run("run", "%stall", "--mode", "bypassPermissions").split()[0]
    follower = cli.start("logs", run, "--follow")
    cli.fleet.wait(run, "RUNNING")
    cli.run("cancel", run)
    assert follower.wait(30) == 1
    cli.run("cancel", run, code=1)
    assert cli.err.strip()


def test_a_run_is_paused_and_continued_and_its_follower_sees_both(cli: Cli) -> None:
    run = cli.run("run", "%say One\n%bash tail -f /dev/null", "--mode", "bypassPermissions").split()[0]
    follower = cli.start("logs", run, "--follow")
    cli.fleet.wait_event(run, "agent.tool_call")
    assert run in cli.run("pause", run)
    cli.fleet.wait(run, "PAUSED")
    cli.run("pause", run, code=1)
    assert "paused already" in cli.err
    assert "paused: Paused by a person" in cli.run("logs", run)
    assert cli.run("continue", run, "%say Two").split() == [run]
    assert follower.wait(60) == 0
    assert "Two" in follower.output()
    assert f"corral continue {run}" in follower.output()
    out = cli.run("continue", run, "%say Three", "--follow")
    assert ("Three" in out, "Two" in out) == (True, False)  # what is followed begins where it goes on
    cli.run("continue", run, code=2)
    assert "message" in cli.err


def test_doctor_says_what_is_reachable(cli: Cli) -> None:
    out = cli.run("doctor", code=None) + cli.err
    assert cli.fleet.server.url in out


def test_a_wrong_key_and_a_missing_server_are_said_plainly(cli: Cli) -> None:
    cli.env["CORRAL_API_KEY"] = "crl_live_wrong"
    cli.run("runs", code=1)
    assert "key" in cli.err
    assert "Traceback" not in cli.err
    cli.env["CORRAL_URL"] = "http://127.0.0.1:9"
    cli.run("runs", code=3)
    assert "Traceback" not in cli.err


def test_a_run_outside_the_allowed_directories_is_refused_by_name(cli: Cli) -> None:
    cli.run("run", "hi", "--cwd", "/etc", code=2)
    assert "cwd" in cli.err
