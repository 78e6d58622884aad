"""`corral status`, from the server's start to its end."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.cli.conftest import Command
from tests.support.server import Server
from tests.support.waiting import eventually


def test_it_says_whether_the_server_is_ready_until_that_is_gone(corral: Command, folder: Path) -> None:
    server = Server(folder / "server", env={"CORRAL_DRAIN_SECONDS": "300"}).start()
    try:
        done = corral("status", server=server)
        assert (done.code, done.out.splitlines()[0].startswith(f"{server.url} is ready (Corral ")) == (0, True)
        assert "✓ database     It answers" in done.out
        assert "runners      0 of 0 online" in done.out
        assert "CORRAL_RATE_LIMIT is 0" in done.err
        told = corral("status", "--json", server=server).json()
        assert (told["ready"], told["url"], told["system"]["database"]) == (True, server.url, "sqlite")
        poor = server.api().post("/api/v1/keys", body={"name": "k", "scopes": ["runs:read"]}).json()["key"]
        seen = corral("status", "--json", CORRAL_URL=server.url, CORRAL_API_KEY=poor)
        assert (seen.code, seen.json()["ready"], seen.json()["system"]) == (0, True, None)

        server.process.signal(signal.SIGTERM)  # it answers on, so that proxies find out
        eventually(lambda: server.api().get("/api/ready").status_code == 503)
        done = corral("status", server=server)
        assert done.code == 1
        assert "is not ready" in done.out
        assert "✗ serving      The server is about to end" in done.out
        server.process.signal(signal.SIGTERM)
        assert server.process.wait() == 0
        done = corral("status", server=server)
        assert done.code == 3
        assert "No server is running" in done.err
    finally:
        server.stop()
