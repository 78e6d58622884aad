from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from corral import bus
from corral.agents import mail
from corral.base.errors import Unavailable
from corral.bus.memory import MemoryBus
from corral.platform.database import fetch
from corral.web import sse
from tests.support.http import Api, frames
from tests.support.waiting import eventually
from tests.web.conftest import Person, Running


def launched(api: Api) -> str:
    return str(api.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"}).raise_for_status().json()["id"])


def test_a_quiet_stream_is_kept_alive_by_comments(running: Running, full: Api) -> None:
    with full.stream("/api/runs/:id/events/stream", launched(full), headers={"Last-Event-ID": "1"}) as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line) == ": keep-alive"
        eventually(lambda: len(running.server.watchers.open) == 1)
        for connection in running.server.watchers.open:
            connection.written -= 16
        assert next(line for line in lines if line) == ": keep-alive"


def test_who_watches_and_leaves_is_forgotten(running: Running, full: Api) -> None:
    run = launched(full)
    for _ in range(3):
        with full.stream("/api/runs/:id/events/stream", run) as response:
            next(frames(response))
    eventually(lambda: not running.server.watchers.open)


def test_who_watches_the_bus_or_a_task_and_leaves_is_forgotten(running: Running, full: Api) -> None:
    agent = {"name": "A", "role": "r", "model": "m", "provider": "openai", "glyph": "x", "cli_name": "claude-code"}
    made = full.post("/api/agents", body={**agent, "provider_config": {"cwd": "/srv"}}).json()["id"]
    task = full.post("/api/tasks", body={"title": "t", "input": "i", "assignee": made}).json()["id"]
    for _ in range(3):
        with full.stream("/api/messages/stream"), full.stream("/api/run", body={"taskId": task}):
            eventually(lambda: len(running.server.watchers.open) == 2)
    eventually(lambda: not running.server.watchers.open)
    assert not [topic for topic in topics() if topic.startswith(("bus:", "run:"))]
    assert full.get("/api/tasks/:id", task).json()["status"] == "pending"


def test_who_watches_stays_while_the_database_is_away(full: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = mail.later, [Unavailable(), Unavailable()]

    async def later(*arguments: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(*arguments, **more)

    monkeypatch.setattr(mail, "later", later)
    agent = {"name": "B", "role": "r", "model": "m", "provider": "openai", "glyph": "x", "cli_name": "claude-code"}
    made = full.post("/api/agents", body=agent).json()["id"]
    with full.stream("/api/messages/stream") as response:
        seen = frames(response)
        for text in ("one", "two", "three"):
            full.post("/api/messages", body={"to": made, "text": text})
        assert [next(seen).json()["text"] for _ in range(3)] == ["one", "two", "three"]


async def test_who_leaves_at_the_moment_of_a_hint_is_forgotten_as_well() -> None:
    async def nothing() -> tuple[bytes, bool]:
        return b"", False

    for turns in range(6):
        call = SimpleNamespace(server=SimpleNamespace(stopping=asyncio.Event()))
        connection: Any = SimpleNamespace(call=call, changed=asyncio.Event())
        stream = asyncio.create_task(sse._follow(connection, nothing))
        await asyncio.sleep(0)
        connection.changed.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        stream.cancel()
        done, _ = await asyncio.wait({stream}, timeout=1)
        assert done, f"it goes on for nobody, cancelled {turns} turns after the hint"


def topics() -> list[str]:
    channel = bus.current()
    assert isinstance(channel, MemoryBus)
    return channel.topics()


def test_who_watches_with_a_key_that_is_revoked_is_cut_off(running: Running, full: Api) -> None:
    made = full.post("/api/v1/keys", body={"name": "watcher", "scopes": ["runs:read"]}).json()
    with running.api(made["key"]) as watcher:
        with watcher.stream("/api/runs/:id/events/stream", launched(full)) as response:
            seen = frames(response)
            next(seen)
            assert full.delete("/api/v1/keys/:id", made["id"]).status_code == 200
            with pytest.raises(httpx.TransportError):
                list(seen)
        assert watcher.get("/api/v1/runs").status_code == 401
    eventually(lambda: not running.server.watchers.open)


def test_who_is_taken_out_of_an_org_stops_watching_it_although_their_session_goes_on_in_another(
    running: Running, full: Api, person: Callable[[str], Person]
) -> None:
    member = person("member")
    (who,) = [one["id"] for one in full.get("/api/people").json() if one["name"] == "member"]

    async def elsewhere() -> None:
        await fetch("INSERT INTO orgs (id, name, created_at) VALUES (91, 'elsewhere', 0)")
        await fetch("INSERT INTO members (org_id, user_id, role, created_at) VALUES (91, $1, 'member', 0)", who)

    running.do(elsewhere())
    with member.client.stream("GET", f"/api/runs/{launched(full)}/events/stream") as response:
        seen = response.iter_bytes()
        next(seen)
        assert full.delete("/api/people/:id", who).status_code == 200
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            list(seen)
    assert member.client.get("/api/v1/runs").json()["data"] == []


def test_a_watcher_who_does_not_read_gets_everything_once_it_does(running: Running, full: Api) -> None:
    run, size, count = launched(full), 200_000, 50
    url = running.server.settings
    slow = socket.create_connection((url.host, url.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    slow.sendall(
        f"GET /api/runs/{run}/events/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {full.key}\r\n\r\n".encode()
    )
    eventually(lambda: len(running.server.watchers.open) == 1)
    claimed = claim(full, run)
    for n in range(1, count + 1):
        send(full, claimed, n, "agent.message", {"text": "x" * size})
    send(full, claimed, count + 1, "run.completed", {"text": "done"})
    slow.settimeout(30)
    received = b""
    while part := slow.recv(1 << 20):
        received += part
        if received.endswith(b"0\r\n\r\n"):
            break
    slow.close()
    ids = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
    assert ids == list(range(1, count + 3))
    assert received.count(b"x" * size) == count


def register(api: Api) -> str:
    card = {"uid": "watch", "name": "watch", "os": "linux", "arch": "amd64", "version": "1", "allowed_dirs": ["/srv"]}
    clis = [{"engine": "claude-code", "version": "1", "signed_in": True}]
    answer = api.post("/api/v1/runners/register", body={**card, "clis": clis, "max_pods": 1000})
    return str(answer.raise_for_status().json()["session"])


def claim(api: Api, run: str) -> Any:
    body = {"session": register(api), "poll_no": 1, "free_slots": 1000, "wait_seconds": 0}
    assignments = api.post("/api/v1/runners/:id/poll", "watch", body=body).raise_for_status().json()["assignments"]
    return next(one for one in assignments if one["run_id"] == run)


def send(api: Api, claimed: Any, n: int, type_: str, payload: Any) -> None:
    events = [{"n": n, "type": type_, "payload": payload}]
    body = {"attempt": claimed["attempt"], "lease": claimed["lease"], "events": events}
    api.post("/api/v1/runs/:id/events", claimed["run_id"], body=body).raise_for_status()


def test_a_long_log_is_read_whole_and_in_parts(full: Api) -> None:
    run = launched(full)
    claimed, said = claim(full, run), {"text": "x"}
    for first in range(1, 2500, 500):
        events = [{"n": n, "type": "agent.message", "payload": said} for n in range(first, first + 500)]
        body = {"attempt": claimed["attempt"], "lease": claimed["lease"], "events": events}
        full.post("/api/v1/runs/:id/events", run, body=body).raise_for_status()
    whole = full.get("/api/runs/:id/events", run).json()
    assert [event["sequence"] for event in whole] == list(range(1, 2502))
    entries = full.get("/api/v1/runs/:id/events", run, query={"after": 1000, "limit": 1200}).json()["data"]
    assert [entry["seq"] for entry in entries] == list(range(1001, 2201))
    last = full.get("/api/runs/:id/events", run, query={"before": 2000, "limit": 3}).json()
    assert [event["sequence"] for event in last] == [1997, 1998, 1999]
    assert len(full.get("/api/v1/runs/:id", run).json()["logs"]) == 2501
