"""The server is killed at every write of a delegation, one after the other: the end is the same each time."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.mortal import Mortal
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.waiting import eventually

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Hand(ByHand):
    """A runner by hand that goes on after each death of its server, and so brings it back to life."""

    def __init__(self, server: Mortal, known: ByHand) -> None:
        self.__dict__.update(known.__dict__)
        self.server = server
        self.held: list[JSON] = []

    def insist(self, act: Callable[[Api], httpx.Response]) -> JSON:
        """Do it until it is answered."""
        while True:
            try:
                answer = act(self.server.api)
            except httpx.TransportError:
                self.server.revive()
                continue
            assert answer.status_code in (200, 201), answer.text
            told: JSON = answer.json()
            return told

    def once(self, path: str, *ids: object, body: object) -> JSON:
        return self.insist(lambda api: api.post(path, *ids, body=body))

    def look(self) -> JSON:
        """Poll, and do what the commands say."""
        self.poll_no += 1
        body = {"session": self.session, "poll_no": self.poll_no, "free_slots": 2, "wait_seconds": 0, "held": self.held}
        told = self.once("/api/v1/runners/:id/poll", self.id, body=body)
        assert not told["lost"]
        for claimed in told["assignments"]:
            self.held.append({name: claimed[name] for name in ("run_id", "attempt", "lease")})
        for command in told["commands"]:
            done = {"session": self.session, "status": "done"}
            self.once("/api/v1/runners/:id/commands/:command_id", self.id, command["id"], body=done)
        return told

    def work(self) -> Work:
        """The next run that is given to this runner, started."""
        given = eventually(lambda: self.look()["assignments"], what="a run to claim")
        assert len(given) == 1
        work = Work(self, given[0])
        work.say("run.started", pid=1)
        work.say("session.init", session_id=f"session-{given[0]['agent']['name']}", model="m", tools=[])
        return work

    def message(self) -> JSON:
        """The next thing that a run of this runner is told."""
        (command,) = eventually(lambda: self.look()["commands"], what="a message")
        assert command["kind"] == "message"
        told: JSON = command["payload"]
        return told


class Work:
    """An attempt, and what its agent does."""

    def __init__(self, hand: Hand, claimed: JSON) -> None:
        self.hand, self.claimed, self.n = hand, claimed, 0

    def say(self, kind: str, **payload: object) -> None:
        self.n += 1
        event = {"n": self.n, "type": kind, "payload": payload}
        body = {"attempt": self.claimed["attempt"], "lease": self.claimed["lease"], "events": [event]}
        stored = self.hand.once("/api/v1/runs/:id/events", self.claimed["run_id"], body=body)
        assert stored["n"] == self.n

    def ends(self, text: str, **more: object) -> None:
        self.say("run.completed", text=text, **more)
        self.hand.held = [one for one in self.hand.held if one["run_id"] != self.claimed["run_id"]]

    def use(self, tool: str, call_id: str, **given: object) -> JSON:
        token = f"crl_run_{self.claimed['run_id']}_{self.claimed['lease']}"
        body = {"call_id": call_id, "input": given, "wait_seconds": 0}

        def call(api: Api) -> httpx.Response:
            with api.as_key(token) as caller:
                return caller.post("/api/v1/tools/:name", tool, body=body)

        return self.hand.insist(call)

    def hand_out(self, *, wait: bool) -> JSON:
        return self.use("delegate_task", "call-1", to="Bob", title="Help", input="Help me", wait=wait)


class Before:
    """Ada at work, right before she hands something to Bob: a data directory to begin from again and again."""

    def __init__(self, folder: Path) -> None:
        self.killed_at: set[tuple[str, ...]] = set()  #: all that was written until then, the last write the fatal one
        self.data = folder / "before"
        self.data.mkdir()
        server = Mortal(self.data)
        for name in ("Ada", "Bob"):
            agent = {"name": name, "role": "r", "model": "m", "provider": "anthropic", "glyph": "x"}
            where = {"cli_name": "claude-code", "provider_config": {"cwd": "/srv/hand"}, "autostart": True}
            made = server.api.post("/api/agents", body={**agent, **where}).raise_for_status().json()
            if name == "Ada":
                ada = made["id"]
        self.by_hand = ByHand(server.api, "hand")
        self.by_hand.card["max_pods"] = 10
        self.by_hand.register()
        task = {"title": "Top", "input": "Do it", "assignee": ada}
        server.api.post("/api/tasks", body=task).raise_for_status()
        hand = Hand(server, self.by_hand)
        self.claimed = hand.work().claimed
        self.by_hand.poll_no = hand.poll_no
        server.stop()

    def again(self, folder: Path, dies_at: int) -> tuple[Mortal, Work]:
        """A server on a copy, which will die, and Ada at work."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.data, folder)
        server = Mortal(folder, dies_at)
        hand = Hand(server, self.by_hand)
        work = Work(hand, self.claimed)
        work.n = 2
        hand.held = [{name: self.claimed[name] for name in ("run_id", "attempt", "lease")}]
        return server, work


@pytest.fixture(scope="module")
def before(session_folder: Path) -> Before:
    folder = session_folder / "kill-points"
    folder.mkdir()
    return Before(folder)


def waits(ada: Work) -> str:
    """Her tool call stays open until Bob is done."""
    assert not ada.hand_out(wait=True)["done"]
    ada.hand.work().ends("42")
    answer = eventually(lambda: (told := ada.hand_out(wait=True))["done"] and told, what="the answer")
    assert answer
    ada.ends("Bob says 42")
    return str(answer["text"])


def is_resumed(ada: Work) -> str:
    """She ends her turn before Bob is done."""
    assert ada.hand_out(wait=False)["done"]
    ada.ends("Let us see")
    ada.hand.work().ends("42")
    again = ada.hand.work()
    again.ends("Bob says 42")
    return str(again.claimed["prompt"])


def is_told(ada: Work) -> str:
    """She is still at it when Bob is done."""
    assert ada.hand_out(wait=False)["done"]
    ada.hand.work().ends("42")
    message = ada.hand.message()
    ada.ends("Bob says 42", inputs=[message["input"]])
    return str(message["text"])


@pytest.mark.timeout(300)  # 15 seconds, where nothing else is at work
@pytest.mark.parametrize("story", [waits, is_resumed, is_told])
def test_a_delegation_ends_the_same_wherever_the_server_is_killed(
    before: Before, folder: Path, story: Callable[[Work], str], record_property: Callable[[str, object], None]
) -> None:
    server, ada = before.again(folder / "whole", 0)
    try:
        told = story(ada)
        writes = server.written()
    finally:
        server.stop()
    assert "42" in told
    end = outcome(folder / "whole")
    assert [task["status"] for task in end["tasks"]] == ["done", "done"]
    points = [n for n in range(1, len(writes) + 1) if tuple(writes[:n]) not in before.killed_at]
    for n in points:
        server, ada = before.again(folder / "killed", n)
        try:
            assert plain(story(ada)) == plain(told), f"killed at {n}: {writes[n - 1]}"
        finally:
            server.stop()
        assert server.deaths == 1, f"not killed at {n}: {writes[n - 1]}"
        assert outcome(folder / "killed") == end, f"killed at {n}: {writes[n - 1]}"
        before.killed_at.add(tuple(writes[:n]))
    assert points, "no two stories are the same"
    measured = f"{len(points)} kill points, of {len(writes)} writes, of a delegation whose sender {story.__name__}"
    record_property("measured", measured)


#: What tells a delegation's end, in the order it came to be.
_QUERIES = {
    "tasks": "SELECT t.title, a.name, t.status, t.result, t.error, t.depth, t.tries, t.heard_at IS NOT NULL AS heard, "
    "t.wanted_at FROM tasks t JOIN agents a ON a.id = t.assignee_id ORDER BY t.no",
    "runs": "SELECT a.name, r.status, r.attempt, r.attempt_open, r.awaits, r.last_seq, r.prompt, r.next_prompt "
    "FROM runs r JOIN agents a ON a.id = r.agent_id ORDER BY r.no",
    "events": "SELECT run_no, seq, attempt, n, type, payload FROM events ORDER BY run_no, seq",
    "messages": "SELECT m.type, s.name AS sender, r.name AS receiver, m.text, m.inbox_seq, m.tries, m.error, "
    "m.handled_at IS NOT NULL AS handled, m.read_at IS NOT NULL AS is_read, m.dead_at FROM messages m "
    "LEFT JOIN agents s ON s.id = m.sender LEFT JOIN agents r ON r.id = m.receiver ORDER BY m.no",
    "calls": "SELECT run_no, call_id, attempt, tool, answer, is_error FROM calls ORDER BY no",
    "inputs": "SELECT run_no, text, done_at IS NOT NULL AS done FROM inputs ORDER BY no",
    "commands": "SELECT run_no, attempt, kind, status FROM commands ORDER BY no",
}


def outcome(data: Path) -> JSON:
    """What is in the database, but for ids and times."""
    connection = sqlite3.connect(data / "corral.db")
    connection.row_factory = sqlite3.Row
    try:
        return {name: [plain(dict(row)) for row in connection.execute(query)] for name, query in _QUERIES.items()}
    finally:
        connection.close()


def plain(value: Any) -> Any:
    return json.loads(_ID.sub("ID", json.dumps(value)))
