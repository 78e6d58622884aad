"""The scripted model server as a process: what the real CLIs talk to. Its script language: docs/demo.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import Process, base_env

#: A turn in which the agent asks a person something of its own.
ASK_WHICH_COLOUR = "%tool AskUserQuestion " + json.dumps(
    {
        "questions": [
            {
                "question": "Which colour?",
                "header": "Colour",
                "multiSelect": False,
                "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}],
            }
        ]
    }
)


class Model:
    """A model server at full speed, and what it says it served."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "corral.demo", "--port", "0", "--pace", "0"]
        self.process = Process("model", command, env=base_env(folder), log=folder / "model.log", cwd=folder)
        self.process.start()
        self.url = self.process.wait_for_line("listening on").rpartition(" ")[2].strip()

    def served(self, **narrow: str) -> list[dict[str, Any]]:
        """The answers it gave, oldest first; `session=`, `kind=`, `status=` narrow them."""
        return self._list("/served", narrow)

    def requests(self, **narrow: str) -> list[dict[str, Any]]:
        """The last requests as they came."""
        return self._list("/requests", narrow)

    def stop(self) -> None:
        self.process.stop()

    def _list(self, path: str, narrow: dict[str, str]) -> list[dict[str, Any]]:
        answer = (
            httpx.get(self.url + path, params=narrow, timeout=30, verify=False, trust_env=False)
            .raise_for_status()
            .json()
        )
        listed: list[dict[str, Any]] = answer if isinstance(answer, list) else next(iter(answer.values()))
        return listed
