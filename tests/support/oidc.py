"""The OpenID provider of the tests, as a process: who signs in there, and what it does wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET
from tests.support.processes import Process, base_env
from tests.support.waiting import PATIENCE

_REPOSITORY = Path(__file__).parents[2]
_HIDDEN = re.compile(r'name="(\w+)" value="([^"]*)"')


class Oidc:
    """A provider that runs until `stop`."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.support.oidc_provider"]
        self.process = Process("provider", command, env=base_env(folder), log=folder / "oidc.log", cwd=_REPOSITORY)
        self.process.start()
        self.issuer = self.process.wait_for_line("listening on").rpartition(" ")[2].strip()
        self.client = httpx.Client(base_url=self.issuer, trust_env=False, timeout=20 * PATIENCE)

    def env(self, **more: str) -> dict[str, str]:
        """What a server is told to sign people in with it."""
        told = {"ISSUER": self.issuer, "CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET, "NAME": "Acme", **more}
        return {f"CORRAL_OIDC_{name}": value for name, value in told.items()}

    def answer(self, url: str, email: str, *, act: str = "allow") -> str:
        """Sign in on the page at `url`; return where the provider sends the browser then."""
        page = self.client.get(url)
        assert page.status_code == 200, page.text
        form = {name: unescape(value) for name, value in _HIDDEN.findall(page.text) if name != "act"}
        sent = self.client.post("/authorize", data={**form, "email": email, "act": act})
        assert sent.status_code == 303, sent.text
        return sent.headers["location"]

    def knows(self, email: str, **claims: Any) -> None:
        """Say more of somebody than their address, or other things (None: nothing)."""
        assert self.client.post("/people", json={email: claims}).status_code == 200

    def rotate(self) -> None:
        assert self.client.post("/rotate").status_code == 200

    def seen(self) -> list[str]:
        """The paths it was asked for."""
        listed: list[str] = self.client.get("/seen").json()
        return listed

    @contextmanager
    def behaving(self, **wrong: Any) -> Iterator[None]:
        """Have it do something wrong for a while."""
        self._behave(wrong)
        try:
            yield
        finally:
            self._behave({})

    def stop(self) -> None:
        self.client.close()
        self.process.stop()

    def _behave(self, wrong: Mapping[str, Any]) -> None:
        assert self.client.post("/behave", json=dict(wrong)).status_code == 200
