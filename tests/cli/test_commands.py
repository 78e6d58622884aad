"""Commands on the machine of the server, which find it by its data directory: `corral up` with the real Claude Code.

What works the same from elsewhere is in tests/flows/test_cli.py.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Done
from tests.support import warm
from tests.support.model import Model
from tests.support.processes import Process, base_env
from tests.support.runner import claude_env
from tests.support.server import Server
from tests.support.waiting import PATIENCE, eventually


@pytest.fixture(scope="module")
def up(session_folder: Path, model: Model, claude_binary: Path) -> Iterator[Server]:
    """A `corral up` for this file's tests, its child runner on the scripted model."""
    assert claude_binary.exists()
    folder = session_folder / "cli-up"
    server = Server(folder, command="up", env=claude_env(folder, model.url)).start()
    with server.api() as api:
        eventually(lambda: api.get("/api/v1/runners/available").json()["runners"], what="the child runner is online")
    yield server
    server.stop()


@pytest.fixture
def work(up: Server, request: pytest.FixtureRequest) -> str:
    """A directory that the runner may work in."""
    made = up.data.parent / "work" / re.sub(r"\W", "_", request.node.name)
    made.mkdir(parents=True, exist_ok=True)
    return str(made)


def test_without_follow_stdout_is_the_id_alone_and_json_is_a_document_or_a_line_an_event(
    corral: Command, up: Server, work: str
) -> None:
    done = corral("run", "%say hi", "--cwd", work, server=up)
    assert done.code == 0
    assert re.fullmatch(r"[0-9a-f-]{36}\n", done.out)
    run = done.out.strip()
    lines = corral("logs", run, "--follow", "--json", server=up).out.splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["event_type"] == "run.created"
    assert events[-1]["event_type"] == "run.completed"
    assert corral("logs", run, "--json", server=up).json() == [
        event for event in events if event["event_type"] != "agent.token"
    ]
    listed = corral("runs", "--json", server=up).json()["data"]
    assert run in [one["id"] for one in listed]
    assert work in corral("runs", server=up).out
    assert corral("runners", "--json", server=up).json()["runners"]


def test_a_prompt_comes_from_standard_input_a_followup_goes_on_and_the_end_of_an_id_names_a_run(
    corral: Command, up: Server, work: str
) -> None:
    prompt = "%say read from a pipe\n"
    first = corral("run", "-", "--cwd", work, "--json", server=up, stdin=prompt).json()["id"]
    assert "read from a pipe" in corral("logs", first, "--follow", server=up).out
    assert corral("logs", first[-8:], "--follow", server=up).code == 0
    done = corral("followup", first[-8:], "%say still here", "--follow", server=up)
    assert corral("runs", "--limit", "1", "--json", server=up).json()["data"][0]["parentRunId"] == first
    assert done.code == 0, done.err
    assert "still here" in done.out
    assert corral("delete", first[-8:], "--json", server=up).json() == {"ok": True}
    assert corral("delete", first, server=up).code == 1
    assert corral("logs", first, server=up).code == 1


def asked(server: Server, run: str) -> str:
    """The id of the approval that the run waits for."""
    with server.api() as api:
        found = eventually(
            lambda: api.get("/api/approvals", query={"status": "pending", "run_id": run}).json(), what="it asks"
        )
        return str(found[0]["id"])


def test_an_approval_is_listed_shown_and_allowed(corral: Command, up: Server, work: str) -> None:
    run = corral("run", "%bash touch made.txt %% %say did it", "--cwd", work, server=up).out.strip()
    approval = asked(up, run)
    assert approval in [one["id"] for one in corral("approvals", "--json", server=up).json()]
    assert "touch made.txt" in corral("approvals", server=up).out
    shown = corral("approvals", "show", approval, server=up).out
    assert "touch made.txt" in shown
    assert work in shown
    assert corral("approvals", "allow", approval, server=up).code == 0
    assert corral("approvals", "deny", approval, server=up).code == 1
    assert corral("logs", run, "--follow", server=up).code == 0
    assert Path(work, "made.txt").exists()


def test_an_approval_is_denied_with_a_reason(corral: Command, up: Server, work: str) -> None:
    run = corral("run", "%bash touch made.txt %% %say {{result}}", "--cwd", work, server=up).out.strip()
    approval = asked(up, run)
    assert corral("approvals", "deny", approval, "--reason", "not today", server=up).code == 0
    assert "not today" in corral("logs", run, "--follow", server=up).out
    assert not Path(work, "made.txt").exists()


def test_interrupting_a_followed_run_leaves_it_going_and_says_so(up: Server, work: str, folder: Path) -> None:
    follower = Process(
        "follower",
        [sys.executable, "-m", "corral", "run", "%stall", "--cwd", work, "--follow"],
        env={**base_env(folder), "CORRAL_DATA": str(up.data)},
        log=folder / "log",
        cwd=folder,
    )
    follower.start()
    follower.wait_for_line("started on")
    follower.signal(signal.SIGINT)
    assert follower.wait() == 130
    run = re.search(r"run ([0-9a-f-]{36})", follower.output())
    assert run
    assert f"corral cancel {run[1]}" in follower.output()
    with up.api() as api:
        assert api.get("/api/v1/runs/:id", run[1]).json()["status"] == "RUNNING"
        assert api.post("/api/runs/:id/cancel", run[1]).status_code == 200


def test_a_followed_run_that_does_not_start_says_what_it_waits_for(up: Server, work: str, folder: Path) -> None:
    follower = Process(
        "follower",
        [sys.executable, "-m", "corral", "run", "%say hi", "--cwd", work, "--label", "gpu", "--follow"],
        env={**base_env(folder), "CORRAL_DATA": str(up.data)},
        log=folder / "log",
        cwd=folder,
    )
    follower.start()
    assert "label gpu" in follower.wait_for_line("Waiting:")
    follower.stop()


def test_at_a_terminal_an_approval_is_answered_in_place(up: Server, work: str, folder: Path) -> None:
    prompt = "%bash touch typed.txt %% %say did it"
    code, screen = typed(up, folder, ["run", prompt, "--cwd", work, "--follow"], when="Allow?", say="y\n")
    assert code == 0, screen
    assert Path(work, "typed.txt").exists()


def typed(server: Server, folder: Path, arguments: list[str], *, when: str, say: str) -> tuple[int, str]:
    """Run a command at a terminal of its own, type `say` once `when` is on screen, and return its end."""
    ours, theirs = pty.openpty()
    env = {**base_env(folder), "CORRAL_DATA": str(server.data), "TERM": "xterm"}
    with open(theirs, "rb", buffering=0, closefd=False) as terminal:
        child = warm.origin().fork(arguments, env, folder, (terminal, terminal, terminal))
    os.close(theirs)
    screen, deadline, said = "", time.monotonic() + 40 * PATIENCE, False
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    screen += os.read(ours, 65536).decode(errors="replace")
                except OSError:  # the other end is closed
                    break
            if not said and when in screen:
                os.write(ours, say.encode())
                said = True
        return child.wait(5 * PATIENCE), screen
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        os.close(ours)


def test_keys_are_made_listed_and_revoked(corral: Command, up: Server) -> None:
    made = corral("keys", "create", "ci", "--scope", "runs:read", "--expires", "30d", server=up)
    assert re.fullmatch(r"crl_live_\S+\n", made.out)
    own = {"CORRAL_URL": up.url, "CORRAL_API_KEY": made.out.strip()}
    assert corral("runs", **own).code == 0
    refused = corral("keys", "list", **own)
    assert refused.code == 1
    assert "keys:read" in refused.err
    key = next(key for key in corral("keys", "--json", server=up).json()["data"] if key["name"] == "ci")
    assert states(corral("doctor", "--json", **own)) >= {("server", "ok"), ("key", "note")}
    assert corral("keys", "revoke", key["id"][-8:], server=up).code == 0
    gone = corral("runs", **own)
    assert gone.code == 1
    assert "keys create" in gone.err


def test_a_fresh_sign_in_link_is_printed(corral: Command, up: Server) -> None:
    assert re.fullmatch(rf"{up.url}/app/sign-in#\S+\n", corral("sign-in", server=up).out)


def test_the_doctor_finds_a_running_server_in_order(corral: Command, up: Server) -> None:
    done = corral("doctor", "--json", server=up)
    assert done.code == 0, done.out
    assert states(done) >= {("server", "ok"), ("runners", "ok"), ("data directory", "ok")}


def states(done: Done) -> set[tuple[str, str]]:
    """What a doctor found."""
    return {(finding["name"], finding["state"]) for finding in done.json()["findings"]}
