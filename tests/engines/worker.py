"""The worker as its job sees it: a real process, lines in and lines out, and the real Claude Code below it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support import warm
from tests.support.http import JSON
from tests.support.model import Model
from tests.support.processes import base_env, is_alive
from tests.support.runner import claude_env
from tests.support.waiting import PATIENCE, eventually

#: A command that leaves a process in a session of its own, and goes on.
ESCAPE = "setsid -f sh -c 'echo $$ > escaped.pid; exec sleep 300'; echo $$ > shell.pid; sleep 300"
CLASSES = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


class Worker:
    """A worker process in a home of its own; several in one home share Claude Code's sessions."""

    def __init__(self, home: Path, model: Model) -> None:
        self.cwd = home / "work"
        self.cwd.mkdir(exist_ok=True)
        self.private = Path(tempfile.mkdtemp(dir=home))
        self.model = model
        self.lines: list[JSON] = []
        self.log = home / "worker.log"
        hears, says = os.pipe()
        told, tells = os.pipe()
        self.stdin, self._stdout = os.fdopen(says, "wb"), os.fdopen(told, "rb")
        env = {**base_env(home), **claude_env(home, model.url)}
        with os.fdopen(hears, "rb") as given, os.fdopen(tells, "wb") as out, self.log.open("ab") as log:
            self.process = warm.origin().fork((), env, Path("/"), (given, out, log), module=warm.CLAUDE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(
        self, prompt: str, mode: str = "bypassPermissions", env: dict[str, str] | None = None, **more: Any
    ) -> None:
        """Say `start`; `more` are fields of the assignment."""
        assignment = {
            "run_id": f"run-{os.urandom(4).hex()}",
            "attempt": 1,
            "lease": "secret",
            "engine": "claude-code",
            "prompt": prompt,
            "cwd": str(self.cwd),
            "permission_mode": mode,
            **more,
        }
        self.say(
            "start",
            assignment=assignment,
            private=str(self.private),
            env={"CORRAL_RUN": assignment["run_id"], **(env or {})},
        )

    def say(self, line: str, **fields: Any) -> None:
        self.stdin.write(json.dumps({"line": line, **fields}).encode() + b"\n")
        self.stdin.flush()

    def close(self) -> None:
        """End its stdin, as a job that dies does."""
        self.stdin.close()

    def answer(self, request: JSON, decision: str, **more: Any) -> None:
        self.say("approve", approve={"request_id": request["request_id"], "decision": decision, **more})

    # What it said

    def wait_line(self, kind: str, within: float = 60) -> JSON:
        return eventually(lambda: self.of(kind)[0], within=within, what=f"a line {kind}")

    def wait_event(self, type: str, count: int = 1, within: float = 60) -> JSON:
        """Wait for the `count`th event of a type and return its payload."""

        def seen() -> JSON:
            found = self.payloads(type)
            if len(found) < count and self.process.poll() is not None:
                raise RuntimeError(f"ended without {count} × {type}: {self.told()}")
            return found[count - 1]

        return eventually(seen, within=within, what=f"{count} × {type}")

    def escaped(self) -> list[int]:
        """Wait until ESCAPE runs; return the pids of the tree."""
        files = [self.cwd / "escaped.pid", self.cwd / "shell.pid"]
        eventually(lambda: all(file.read_text().endswith("\n") for file in files), within=60, what="the command runs")
        return [self.cli, *(int(file.read_text()) for file in files)]

    def end(self, within: float = 60) -> JSON:
        """Wait for its exit and return the last event, which must be the only one that ends an attempt."""
        try:
            self.process.wait(within * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {within:g} s: {self.told()}") from None
        self._reader.join(5 * PATIENCE)
        endings = [e for e in self.events() if e["type"] in ENDINGS]
        assert len(endings) == 1, self.told()
        assert self.lines[-1] == {"line": "event", **endings[0]}, self.told()
        assert self.process.returncode == 0
        return endings[0]

    def completed(self, within: float = 60) -> str:
        """Wait for its end, which must be a success, and return the final text."""
        ending = self.end(within)
        assert ending["type"] == "run.completed", ending
        return str(ending["payload"]["text"])

    def failed(self, within: float = 60) -> JSON:
        ending = self.end(within)
        assert ending["type"] == "run.failed", ending
        payload: JSON = ending["payload"]
        return payload

    def events(self) -> list[JSON]:
        return [{"type": line["type"], "payload": line["payload"]} for line in self.of("event")]

    def payloads(self, type: str) -> list[JSON]:
        return [event["payload"] for event in self.events() if event["type"] == type]

    @property
    def session(self) -> str:
        return str(self.payloads("session.init")[0]["session_id"])

    @property
    def cli(self) -> int:
        return int(self.wait_line("child")["pid"])

    def of(self, kind: str) -> list[JSON]:
        """Its lines of a kind."""
        return [line for line in list(self.lines) if line["line"] == kind]

    def usage(self) -> list[JSON]:
        return [line["usage"] for line in self.of("usage")]

    def spent(self, *, drafted: bool = False) -> dict[str, dict[str, int]]:
        """The sum of its usage lines, or of the newest draft of each message, by model."""
        drafts = {line["usage"]["source"]: line["usage"] for line in self.of("draft")}
        return _sums((line["model"], line) for line in (drafts.values() if drafted else self.usage()))

    def told(self) -> list[str]:
        return [json.dumps(line)[:200] for line in list(self.lines)] + self.log.read_text().splitlines()[-20:]

    def kill(self) -> None:
        """End what a failed test left."""
        for pid in {line["pid"] for line in self.of("child")} | {self.process.pid}:
            if is_alive(pid):
                os.kill(pid, 9)
        self.process.wait()
        self._reader.join(5 * PATIENCE)
        self.stdin.close()
        self._stdout.close()

    def _read(self) -> None:
        for line in self._stdout:
            self.lines.append(json.loads(line))


ENDINGS = ("run.completed", "run.failed", "run.cancelled", "session.interrupted")


def served(model: Model, session: str) -> dict[str, dict[str, int]]:
    """What the model server says it served in a session, by model, in the same classes."""
    return _sums((one["model"], one["usage"]) for one in model.served(session=session) if one["http"] == 200)


def _sums(lines: Iterable[tuple[str, JSON]]) -> dict[str, dict[str, int]]:
    sums: dict[str, dict[str, int]] = {}
    for name, counts in lines:
        total = sums.setdefault(name, dict.fromkeys(CLASSES, 0))
        for kind in CLASSES:
            total[kind] += counts[kind]
    return sums
