"""Agents and tasks made quickly: through the console's own forms, posted without a browser."""

from __future__ import annotations

import re
import uuid

import httpx

from tests.browser.console import sign_in_link
from tests.support.http import JSON
from tests.support.server import Server
from tests.support.waiting import PATIENCE

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Office:
    """A person of a server, without a window."""

    def __init__(self, server: Server) -> None:
        self.client = httpx.Client(
            base_url=server.url, headers={"Origin": server.url}, timeout=30 * PATIENCE, verify=False, trust_env=False
        )
        with server.api() as api:
            token = sign_in_link(api).partition("#")[2]
        assert self.client.post("/app/sign-in", data={"token": token}).status_code == 303
        found = _CSRF.search(self.client.get("/app/keys").text)
        assert found
        self.csrf = found[1]

    def close(self) -> None:
        self.client.close()

    def post(self, path: str, **fields: object) -> str:
        """Send a form that succeeds; returns where it leads."""
        answer = self.client.post(path, data={"csrf": self.csrf, **fields})
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def agent(self, name: str = "", **fields: object) -> str:
        """Make an agent, whose name is its own, and return its id."""
        made = {"name": name or f"agent {uuid.uuid4().hex[:8]}", "role": "Does what it is told", **fields}
        return _id(self.post("/app/agents", **{"engine": "claude-code", "permission_mode": "default", **made}))

    def task(self, title: str, agent: str, **fields: object) -> str:
        """Make a task, and return its id."""
        more: JSON = {"priority": "normal", "retries": "0", **fields}
        return _id(self.post("/app/tasks", title=title, agent=agent, **more))


def _id(location: str) -> str:
    return location.rpartition("/")[2]
