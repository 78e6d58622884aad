from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from corral.runs.placements import PLATFORM
from corral.runs.waiting import waiting_room
from tests.support.http import frames
from tests.support.waiting import PATIENCE, eventually
from tests.web.conftest import Running
from tests.web.test_streams import launched, register


def test_a_stop_ends_streams_and_polls_at_once(tmp_path: Path) -> None:
    running = Running(tmp_path)
    with running.api() as api:
        run = launched(api)
        session = register(api)
        ended: list[Any] = []

        def watch() -> None:
            with api.stream("/api/runs/:id/events/stream", run, headers={"Last-Event-ID": "1"}) as response:
                ended.append(list(frames(response)))

        def watch_the_bus() -> None:
            with api.stream("/api/messages/stream") as response:
                ended.append(list(frames(response)))

        def poll() -> None:
            body = {"session": session, "poll_no": 1, "free_slots": 0}
            ended.append(api.post("/api/v1/runners/:id/poll", 1, body=body).json())

        waiting = [threading.Thread(target=work) for work in (watch, watch_the_bus, poll)]
        for thread in waiting:
            thread.start()
        eventually(lambda: len(running.server.watchers.open) == 2 and a_machine_polls())
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 5 * PATIENCE
        for thread in waiting:
            thread.join(5 * PATIENCE)
        assert ended.count([]) == 2
        assert {"assignments": [], "commands": [], "lost": [], "void": False} in ended


def a_machine_polls() -> bool:
    """The platform's own poll waits in the same room."""
    return any(waiter.offer.org_id != PLATFORM for waiter in list(waiting_room()._waiters))


def test_a_server_that_is_about_to_end_still_answers_and_is_not_ready(tmp_path: Path) -> None:
    running = Running(tmp_path, drain_seconds=60)
    with running.api() as api:
        assert api.get("/api/ready").status_code == 200
        running.loop.call_soon_threadsafe(running._done.set)
        eventually(lambda: api.get("/api/ready").status_code == 503)
        assert api.get("/api/ready").json()["checks"][0] == {
            "name": "serving", "ok": False, "says": "The server is about to end",
        }  # fmt: skip
        assert api.get("/api/v1/runs").status_code == 200
        running.loop.call_soon_threadsafe(running.server.hurry.set)
        running.stop()
