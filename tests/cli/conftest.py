"""Commands as people run them: processes, with the environment that is named and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import warm
from tests.support.processes import base_env
from tests.support.server import Server


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def corral(folder: Path) -> Command:
    """Run a command to its end: `corral("runs", "--json", server=server)` talks to that server's data directory."""

    def run(*arguments: str, server: Server | None = None, within: float = 60, stdin: str = "", **env: str) -> Done:
        where = {"CORRAL_DATA": str(server.data)} if server else {}
        whole = {**base_env(folder), **where, **env}
        done = warm.run(arguments, env=whole, cwd=folder, stdin=stdin, within=within)
        assert "Traceback" not in done.err, done.err
        return Done(*done)

    return run
