"""`corral demo`: real Claude Code runs for somebody without an account."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from tests.cli.conftest import Command
from tests.support.processes import Process, base_env, gone
from tests.support.waiting import eventually


def test_a_newcomer_without_a_key_sees_a_run_that_writes_a_file(
    folder: Path, corral: Command, claude_binary: Path
) -> None:
    assert claude_binary.exists()
    work, data = folder / "work", folder / ".corral-demo"
    work.mkdir()
    demo = Process(
        "demo",
        [str(Path(sys.executable).with_name("corral")), "demo", "--port", "0"],  # as people start it, from nothing
        env={**base_env(folder), "ANTHROPIC_API_KEY": "sk-ant-the-persons-own", "IS_SANDBOX": "1"},
        log=folder / "demo.log",
        cwd=work,
    )
    demo.start()
    demo.wait_for_line("scripted")
    demo.wait_for_line("Stop with ^C")
    assert json.loads((data / "server.json").read_text())["pid"] == demo.pid
    where = ("--data", str(data))
    eventually(lambda: "online" in corral("runners", *where).out, what="the demo's runner is online")
    prompt = "Please write a hello.md"
    done = corral("run", prompt, "--cwd", str(work), "--mode", "acceptEdits", "--follow", *where, within=90)
    assert done.code == 0, done.out + done.err
    assert "scripted" in done.out
    assert (work / "hello.md").exists()
    runner = int((data / "runner" / "runner.lock").read_text())
    environment = Path(f"/proc/{runner}/environ").read_text()
    assert "the-persons-own" not in environment
    demo.signal(signal.SIGINT)
    assert demo.wait(30) == 0
    gone(runner)
    demo.stop()
