"""Real `corral serve` and `corral up` processes."""

from __future__ import annotations

import secrets
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import httpx

from tests.support.http import Api
from tests.support.processes import Process, base_env, free_port
from tests.support.waiting import eventually


class Server:
    """A server on a port and a data directory of its own. It can be killed and started again on the same ones."""

    def __init__(
        self,
        folder: Path,
        *,
        command: str = "serve",
        arguments: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        self.key = f"crl_live_{secrets.token_urlsafe(32)}"
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--data", str(self.data))
        settings = {"CORRAL_BOOTSTRAP_KEY": self.key, "CORRAL_RATE_LIMIT": "0"}
        self.process = Process(
            f"corral {command}",
            [sys.executable, "-m", "corral", command, *where, *arguments],
            env={**base_env(folder), **settings, **(env or {})},
            log=folder / f"{command}.log",
            cwd=cwd or folder,
        )

    def start(self) -> Server:
        """Start, and return when it answers."""
        self.process.start()
        return self.wait_healthy()

    def wait_healthy(self) -> Server:
        """Return when it answers."""
        eventually(self.is_healthy, within=30, what=f"{self.url}/api/health answers")
        return self

    def is_healthy(self) -> bool:
        if not self.process.is_running():
            # Not an AssertionError: there is nothing to wait for.
            raise RuntimeError(
                f"{self.process.name} ended with {self.process.exit_code}:\n{self.process.output()[-4000:]}"
            )
        return httpx.get(f"{self.url}/api/health", timeout=5, verify=False, trust_env=False).status_code == 200

    def kill(self) -> None:
        """kill -9, as a crash would."""
        self.process.kill()

    def stop(self) -> None:
        self.process.stop()

    def restart(self) -> Server:
        """Start again what was killed or stopped: same port, same data."""
        return self.start()

    def api(self, key: str | None = "") -> Api:
        """A caller with the full key, or the given one (None: without)."""
        return Api(self.url, self.key if key == "" else key)

    def sql(self, statement: str) -> str:
        """Run a statement in the SQLite file, and return the first value of its first row."""
        with closing(sqlite3.connect(self.data / "corral.db", timeout=10)) as database, database:
            rows = database.execute(statement).fetchall()
        return str(rows[0][0]) if rows else ""

    def stored(self) -> bytes:
        """All that is in the SQLite file."""
        return b"".join(file.read_bytes() for file in self.data.glob("corral.db*"))

    def output(self) -> str:
        """What it wrote to its log."""
        return self.process.output()
