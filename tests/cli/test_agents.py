"""Agents, their tasks and their messages from a terminal. The machine they work on is a runner by hand."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command, Done
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.processes import Process, base_env
from tests.support.server import Server
from tests.support.waiting import eventually


class Studio:
    """A server, a machine, and agents whose names nobody else has."""

    def __init__(self, corral: Command, server: Server, api: Api, folder: Path) -> None:
        self.server, self.api, self.folder = server, api, folder
        self.command = corral
        self.mark = uuid.uuid4().hex[:6]
        self.hand = ByHand(api, f"studio-{self.mark}")
        self.hand.register()

    def corral(self, *arguments: str, **more: str) -> Done:
        return self.command(*arguments, server=self.server, **more)

    def agent(self, name: str, **fields: Any) -> JSON:
        """An agent that works on this machine."""
        body = {
            "name": f"{name}-{self.mark}",
            "role": f"{name}'s role",
            "glyph": "🤖",
            "model": "m",
            "provider": "anthropic",
            "cli_name": "claude-code",
            "provider_config": {"cwd": self.hand.root},
        }
        return self._made("/api/agents", {**body, **fields})

    def task(self, agent: JSON, text: str, **fields: Any) -> str:
        body = {"title": text, "input": text, "assignee": agent["id"]}
        return str(self._made("/api/tasks", {**body, **fields})["id"])

    def _made(self, path: str, body: JSON) -> JSON:
        answer = self.api.post(path, body=body)
        assert answer.status_code == 201, answer.text
        made: JSON = answer.json()
        return made

    def work(self) -> JSON:
        """The next run that the machine is given, started."""
        claimed: JSON = eventually(lambda: self.hand.poll()["assignments"], what="there is work")[0]
        assert self.hand.send(claimed, (1, "run.started", {"pid": 1}))[0] == 200
        return claimed

    def finish(self, claimed: JSON, text: str) -> None:
        assert self.hand.send(claimed, (2, "run.completed", {"text": text}))[0] == 200

    def fail(self, claimed: JSON, message: str) -> None:
        assert self.hand.send(claimed, (2, "run.failed", {"code": "agent_failed", "message": message}))[0] == 200

    def meanwhile(self, act: Callable[[], None], *arguments: str) -> Done:
        """Run a command that waits for what `act` brings about."""
        acting = threading.Thread(target=act, daemon=True)
        acting.start()
        done = self.corral(*arguments)
        acting.join(30)
        return done


@pytest.fixture
def studio(corral: Command, hand_server: Server, folder: Path) -> Iterator[Studio]:
    with hand_server.api() as api:
        yield Studio(corral, hand_server, api, folder)


def test_agents_are_made_listed_shown_edited_paused_and_archived(studio: Studio) -> None:
    boss, name = studio.agent("Ada")["name"], f"Bo-{studio.mark}"
    fields = (
        "--role",
        "Reads",
        "--model",
        "m-1",
        "--mode",
        "plan",
        "--label",
        "gpu",
        "--glyph",
        "🦉",
        "--manager",
        boss,
    )
    made = studio.corral("agents", "create", name, *fields, "--cwd", studio.hand.root)
    assert re.fullmatch(r"[0-9a-f-]{36}\n", made.out), made.err
    id_ = made.out.strip()
    assert re.search(rf"{name} +idle .* m-1 +claude-code +– +{boss}", studio.corral("agents", "list").out)

    assert (
        studio.corral("agents", "edit", name, "--team", "ops", "--mode", "default", "--manager", "", "--label", "").code
        == 0
    )
    shown = studio.corral("agents", "show", id_[-12:]).out
    assert re.search(r"team +ops", shown)
    assert re.search(r"permission mode +default", shown)
    assert re.search(rf"cwd +{studio.hand.root}", shown)
    assert "manager" not in shown
    assert "labels" not in shown
    assert "Reads" in shown

    assert studio.corral("agents", "pause", name).code == 0
    assert studio.api.get("/api/agents/:id", id_).json()["status"] == "paused"
    assert studio.corral("agents", "resume", name.upper()).code == 0
    assert studio.api.get("/api/agents/:id", id_).json()["status"] == "idle"
    assert studio.corral("agents", "archive", name).code == 0
    gone = studio.corral("agents", "show", name)
    assert gone.code == 1
    assert "corral agents" in gone.err
    assert studio.corral("agents", "show", id_, "--json").json()["status"] == "archived"


def test_agents_are_listed_with_what_they_are_at_and_what_it_cost(studio: Studio) -> None:
    name = studio.agent("Ada")["name"]
    studio.corral("tasks", "create", name, "Count the files", "--run")
    claimed = studio.work()
    spent = {"source": "1/turn-1/m", "model": "m", "input_tokens": 1000, "cost_micros": 1_250_000}
    assert studio.hand.send(claimed, usage=[spent])[0] == 200
    listed = studio.corral("agents").out
    assert re.search(rf"{name} +working +\$1\.25 .* Count the files", listed)
    studio.finish(claimed, "Three")


def test_the_org_chart_is_a_tree(studio: Studio) -> None:
    boss = studio.agent("Ada")
    first, second = (studio.agent(name, manager=boss["id"]) for name in ("Bo", "Cy"))
    below = studio.agent("Di", manager=first["id"])
    lines = studio.corral("agents", "chart").out.splitlines()
    drawn = [line.split("  idle")[0] for line in lines if studio.mark in line]
    assert drawn == [
        f"🤖 {boss['name']}",
        f"├─ 🤖 {first['name']}",
        f"│  └─ 🤖 {below['name']}",
        f"└─ 🤖 {second['name']}",
    ]
    tree = studio.corral("agents", "chart", "--json").json()
    top = next(agent for agent in tree if agent["id"] == boss["id"])
    assert [agent["id"] for agent in top["reports"]] == [first["id"], second["id"]]


def test_what_is_wrong_with_an_agent_is_the_servers_sentence(studio: Studio) -> None:
    boss = studio.agent("Ada")
    below = studio.agent("Bo", manager=boss["id"])
    circle = studio.corral("agents", "edit", boss["name"], "--manager", below["name"])
    assert circle.code == 2
    assert "circle" in circle.err
    assert studio.corral("agents", "edit", boss["name"]).code == 2


def test_a_task_is_followed_until_it_is_done(studio: Studio) -> None:
    name = studio.agent("Ada")["name"]
    task = studio.corral("tasks", "create", name, "Count the files\nin here", "--priority", "high").out.strip()
    (listed,) = studio.corral("tasks", "--assignee", name, "--status", "pending", "--priority", "high", "--json").json()
    assert (listed["id"], listed["title"]) == (task, "Count the files")
    assert studio.corral("tasks", "--assignee", name, "--status", "done", "--json").json() == []

    done = studio.meanwhile(lambda: studio.finish(studio.work(), "Three"), "tasks", "run", task[-8:], "--follow")
    assert done.code == 0, done.err
    assert "completed" in done.out
    shown = studio.corral("tasks", "show", task).out
    assert re.search(r"status +done", shown)
    assert "Three" in shown
    assert "in here" in shown


def test_a_task_that_fails_ends_its_follower_with_1(studio: Studio) -> None:
    name = studio.agent("Ada")["name"]
    done = studio.meanwhile(
        lambda: studio.fail(studio.work(), "No more disk"), "tasks", "create", name, "Try", "--follow"
    )
    assert done.code == 1
    assert "No more disk" in done.out
    task = done.err.splitlines()[0]
    assert "No more disk" in studio.corral("tasks", "show", task).out


def test_a_task_that_is_started_without_watching_says_its_run(studio: Studio) -> None:
    task = studio.task(studio.agent("Ada"), "Count")
    started = studio.corral("tasks", "run", task)
    claimed = studio.work()
    assert started.out.strip() == claimed["run_id"], started.err
    assert studio.corral("tasks", "run", task).out == started.out
    studio.finish(claimed, "Done")


def test_a_task_says_why_it_does_not_move(studio: Studio) -> None:
    agent = studio.agent("Ada")
    name = agent["name"]
    studio.corral("tasks", "create", name, "First", "--run")
    claimed = studio.work()
    second = studio.corral("tasks", "create", name, "Second", "--run").out.strip()
    listed = studio.corral("tasks", "list", "--assignee", name).out
    assert re.search(rf"pending .* {name} +Second +agent {name} is busy", listed)
    assert studio.api.patch("/api/agents/:id", agent["id"], body={"status": "paused"}).status_code == 200
    assert f"agent {name} is paused" in studio.corral("tasks", "show", second).out
    assert studio.corral("tasks", "cancel", second).code == 0
    assert studio.corral("tasks", "cancel", second).code == 1
    studio.finish(claimed, "Done")


def test_a_tree_of_tasks_is_drawn_and_cancelled_whole(studio: Studio) -> None:
    boss, other = studio.agent("Ada"), studio.agent("Bo")
    top = studio.task(boss, "Whole")
    part = studio.task(other, "Part", parent=top)
    studio.task(other, "Piece", parent=part)
    lines = studio.corral("tasks", "show", part).out.splitlines()
    drawn = [line.split("  pending")[0] for line in lines if f"{studio.mark}:" in line]
    assert drawn == [f"{boss['name']}: Whole", f"└─ {other['name']}: Part", f"   └─ {other['name']}: Piece"]
    assert studio.corral("tasks", "cancel", top, "--tree").code == 0
    listed = studio.corral("tasks", "--assignee", other["name"], "--json").json()
    assert [task["status"] for task in listed] == ["error", "error"]


def test_epics_show_how_far_they_are(studio: Studio) -> None:
    title, name = f"Release {studio.mark}", studio.agent("Ada")["name"]
    assert studio.corral("tasks", "epics", "create", title).code == 0
    assert studio.corral("tasks", "create", name, "In it", "--epic", title).code == 0
    assert [task["title"] for task in studio.corral("tasks", "--epic", title, "--json").json()] == ["In it"]
    assert re.search(rf"0/1 +– +.* {title}", studio.corral("tasks", "epics").out)


def test_a_question_is_answered_by_the_run_it_begins(studio: Studio) -> None:
    name = studio.agent("Ada")["name"]
    asked: list[str] = []

    def answer() -> None:
        claimed = studio.work()
        asked.append(claimed["prompt"])
        studio.finish(claimed, "Forty-two")

    done = studio.meanwhile(answer, "ask", name, "How many?")
    assert (done.code, done.out) == (0, "Forty-two\n"), done.err
    assert asked == ["How many?"]
    kinds = [message["type"] for message in studio.corral("messages", "--agent", name, "--json").json()]
    assert kinds == ["answer", "question"]


def test_a_question_that_is_not_answered_fails_with_the_reason(studio: Studio) -> None:
    name = studio.agent("Ada")["name"]
    failed = studio.meanwhile(lambda: studio.fail(studio.work(), "The model is away"), "ask", name, "How many?")
    assert failed.code == 1
    assert "The model is away" in failed.err
    late = studio.corral("ask", name, "How many now?", "--timeout", "1")
    assert late.code == 1
    assert "within 1 s" in late.err
    sent = studio.corral("ask", name, "And now?", "--no-wait")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", sent.out)


def test_messages_are_sent_listed_and_watched(studio: Studio) -> None:
    name = studio.agent("Ada")["name"]
    sent = studio.corral("messages", "send", name, "-", stdin="From a pipe").out.strip()
    follower = Process(
        "follower",
        [sys.executable, "-m", "corral", "messages", "--agent", name, "--follow", "--json"],
        env={**base_env(studio.folder), "CORRAL_DATA": str(studio.server.data)},
        log=studio.folder / "log",
        cwd=studio.folder,
    )
    follower.start()
    assert json.loads(follower.wait_for_line("From a pipe"))["id"] == sent
    studio.corral("messages", "send", name, "Live")
    assert json.loads(follower.wait_for_line("Live"))["type"] == "note"
    follower.signal(signal.SIGINT)
    assert follower.wait() == 130
    assert len(follower.output().splitlines()) == 2
    assert f"{name}  Live" in studio.corral("messages", "list", "--agent", name, "--type", "note", "--since", "1h").out
    assert studio.corral("messages", "--since", "0h").code == 2


def test_what_was_given_up_is_listed_and_replayed(studio: Studio) -> None:
    name = studio.agent("Ada", provider_config={"cwd": "/nowhere"})["name"]
    failed = studio.corral("ask", name, "Anybody there?")
    assert failed.code == 1
    assert "/nowhere" in failed.err
    assert re.search(rf"question .* {name} .*/nowhere", studio.corral("messages", "dead").out)
    given_up = re.search(r"corral messages replay (\S+)", failed.err)
    assert given_up
    studio.corral("agents", "edit", name, "--cwd", studio.hand.root)
    assert studio.corral("messages", "replay", given_up[1][-12:]).code == 0
    assert studio.work()["prompt"] == "Anybody there?"
    assert studio.corral("messages", "replay", given_up[1]).code == 1


def test_agents_and_tasks_are_kept_while_no_server_runs_and_what_needs_one_says_so(
    corral: Command, folder: Path
) -> None:
    (folder / "fresh").mkdir()
    where = {"CORRAL_DATA": str(folder / "fresh")}
    made = corral("agents", "create", "Ada", "--role", "Leads", "--model", "m", **where)
    assert made.code == 0, made.err
    assert corral("tasks", "create", "ada", "Later", **where).code == 0
    assert "Later" in corral("tasks", **where).out
    assert corral("ask", "ada", "Now?", **where).code == 3


def test_the_shell_completes_names_of_agents(studio: Studio) -> None:
    name = studio.agent("Quincy")["name"]
    env = {"_CORRAL_COMPLETE": "complete_bash", "COMP_WORDS": "corral ask Quin", "COMP_CWORD": "2"}
    assert name in studio.corral(**env).out.splitlines()
    offline = studio.command(**env, CORRAL_DATA=str(studio.folder / "none"))
    assert (offline.out.strip(), offline.err) == ("", "")


def test_doctor_names_the_agents_that_lack_a_key(studio: Studio) -> None:
    agent = studio.agent("Ora", cli_name=None, provider="openrouter")
    assert re.search(rf"no OPENROUTER_API_KEY, which .*{agent['name']}", studio.corral("doctor").out)
    secret = {"key": "OPENROUTER_API_KEY", "value": "x", "agentId": agent["id"], "scope": "agent"}
    assert studio.api.post("/api/secrets", body=secret).status_code == 200
    assert agent["name"] not in studio.corral("doctor").out
