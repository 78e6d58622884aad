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

    def agent(self, name: str, *options: str) -> str:
        """Make an agent that works on this machine; return what it is called."""
        called = f"{name}-{self.mark}"
        plain = ("--role", f"{name}'s role", "--model", "m", "--cwd", self.hand.root)
        done = self.corral("agents", "create", called, *plain, *options)
        assert done.code == 0, done.err
        assert re.fullmatch(r"[0-9a-f-]{36}\n", done.out)
        return called

    def task(self, agent: str, text: str, *options: str) -> str:
        done = self.corral("tasks", "create", agent, text, *options)
        assert done.code == 0, done.err
        return done.out.strip()

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
    boss = studio.agent("Ada", "--team", "web")
    name = studio.agent("Bo", "--manager", boss, "--model", "m-1", "--mode", "plan", "--glyph", "🦉")
    there = {agent["name"]: agent for agent in studio.corral("agents", "--json").json()}
    assert there[name]["manager"] == there[boss]["id"]
    assert there[name]["provider_config"] == {"cwd": studio.hand.root, "permission_mode": "plan"}
    listed = studio.corral("agents", "list").out
    assert re.search(rf"{name} +idle .* m-1 +claude-code +– +{boss}", listed)

    assert studio.corral("agents", "edit", name, "--team", "ops", "--mode", "default", "--manager", "").code == 0
    shown = studio.corral("agents", "show", there[name]["id"][-12:]).out
    assert re.search(r"team +ops", shown)
    assert re.search(r"permission mode +default", shown)
    assert f"cwd              {studio.hand.root}" in shown
    assert "manager" not in shown
    assert "Bo's role" in shown

    assert studio.corral("agents", "pause", name).code == 0
    assert studio.api.get("/api/agents/:id", there[name]["id"]).json()["status"] == "paused"
    assert studio.corral("agents", "resume", name.upper()).code == 0
    assert studio.corral("agents", "archive", name).code == 0
    gone = studio.corral("agents", "show", name)
    assert gone.code == 1
    assert "corral agents" in gone.err
    assert studio.corral("agents", "show", there[name]["id"], "--json").json()["status"] == "archived"


def test_the_org_chart_is_a_tree(studio: Studio) -> None:
    boss = studio.agent("Ada")
    first, second = (studio.agent(name, "--manager", boss) for name in ("Bo", "Cy"))
    below = studio.agent("Di", "--manager", first)
    lines = studio.corral("agents", "chart").out.splitlines()
    mine = [line.split("  idle")[0] for line in lines if studio.mark in line]
    assert mine == [f"🤖 {boss}", f"├─ 🤖 {first}", f"│  └─ 🤖 {below}", f"└─ 🤖 {second}"]
    tree = studio.corral("agents", "chart", "--json").json()
    top = next(agent for agent in tree if agent["name"] == boss)
    assert [agent["name"] for agent in top["reports"]] == [first, second]


def test_what_is_wrong_with_an_agent_is_the_servers_sentence(studio: Studio) -> None:
    boss = studio.agent("Ada")
    below = studio.agent("Bo", "--manager", boss)
    circle = studio.corral("agents", "edit", boss, "--manager", below)
    assert circle.code == 1
    assert "circle" in circle.err
    assert studio.corral("agents", "edit", boss).code == 2


def test_two_agents_of_one_name_are_told_apart_by_their_ids(studio: Studio) -> None:
    name = studio.agent("Twin", "--team", "left")
    assert studio.agent("Twin") == name
    refused = studio.corral("agents", "pause", name)
    assert refused.code == 1
    assert "2 agents are called" in refused.err
    assert "(left)" in refused.err


def test_a_task_is_followed_until_it_is_done(studio: Studio) -> None:
    name = studio.agent("Ada")
    task = studio.task(name, "Count the files\nin here", "--priority", "high")
    (listed,) = studio.corral("tasks", "--assignee", name, "--status", "pending", "--priority", "high", "--json").json()
    assert (listed["id"], listed["title"], listed["status"]) == (task, "Count the files", "pending")
    assert studio.corral("tasks", "--assignee", name, "--status", "done", "--json").json() == []

    done = studio.meanwhile(lambda: studio.finish(studio.work(), "Three"), "tasks", "run", task[-8:], "--follow")
    assert done.code == 0, done.err
    assert "completed" in done.out
    shown = studio.corral("tasks", "show", task).out
    assert re.search(r"status +done", shown)
    assert "Three" in shown
    assert "in here" in shown


def test_a_task_that_fails_ends_its_follower_with_1(studio: Studio) -> None:
    name = studio.agent("Ada")
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
    assert started.code == 0, started.err
    claimed = studio.work()
    assert started.out.strip() == claimed["run_id"]
    assert studio.corral("tasks", "run", task).out == started.out
    studio.finish(claimed, "Done")


def test_a_task_says_why_it_does_not_move(studio: Studio) -> None:
    name = studio.agent("Ada")
    first = studio.task(name, "First", "--run")
    claimed = studio.work()
    second = studio.task(name, "Second", "--run")
    assert re.search(rf"pending .* {name} +Second +agent {name} is busy", studio.corral("tasks", "list").out)
    third = studio.task(name, "Third", "--blocked-by", second, "--run")
    studio.corral("agents", "pause", name)
    assert f"agent {name} is paused" in studio.corral("tasks", "show", third).out
    assert studio.corral("tasks", "cancel", second).code == 0
    assert studio.corral("tasks", "cancel", second).code == 1
    studio.finish(claimed, "Done")
    assert studio.corral("tasks", "show", first, "--json").json()["status"] == "done"


def test_a_tree_of_tasks_is_drawn_and_cancelled_whole(studio: Studio) -> None:
    boss, other = studio.agent("Ada"), studio.agent("Bo")
    top = studio.task(boss, "Whole")
    part = studio.task(other, "Part", "--parent", top)
    studio.task(other, "Piece", "--parent", part)
    lines = studio.corral("tasks", "show", part).out.splitlines()
    drawn = [line.split("  pending")[0] for line in lines if f"{studio.mark}:" in line]
    assert drawn == [f"{boss}: Whole", f"└─ {other}: Part", f"   └─ {other}: Piece"]
    assert studio.corral("tasks", "cancel", top, "--tree").code == 0
    assert {task["status"] for task in studio.corral("tasks", "--assignee", other, "--json").json()} == {"error"}


def test_epics_show_how_far_they_are(studio: Studio) -> None:
    title = f"Release {studio.mark}"
    assert studio.corral("tasks", "epics", "create", title).code == 0
    name = studio.agent("Ada")
    studio.task(name, "In it", "--epic", title)
    studio.task(name, "Not in it")
    assert [task["title"] for task in studio.corral("tasks", "--epic", title, "--json").json()] == ["In it"]
    assert re.search(rf"0/1 +– +.* {title}", studio.corral("tasks", "epics").out)


def test_a_question_is_answered_by_the_run_it_begins(studio: Studio) -> None:
    name = studio.agent("Ada")
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
    name = studio.agent("Ada")
    failed = studio.meanwhile(lambda: studio.fail(studio.work(), "The model is away"), "ask", name, "How many?")
    assert failed.code == 1
    assert "The model is away" in failed.err
    late = studio.corral("ask", name, "How many now?", "--timeout", "1")
    assert late.code == 1
    assert "within 1 s" in late.err
    sent = studio.corral("ask", name, "And now?", "--no-wait")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", sent.out)


def test_messages_are_sent_listed_and_watched(studio: Studio) -> None:
    name = studio.agent("Ada")
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
    name = studio.agent("Ada", "--cwd", "/nowhere")
    failed = studio.corral("ask", name, "Anybody there?")
    assert failed.code == 1
    assert "/nowhere" in failed.err
    assert re.search(rf"question .* {name} .*/nowhere", studio.corral("messages", "dead").out)
    (given_up,) = [one for one in studio.corral("messages", "dead", "--json").json() if one["text"] == "Anybody there?"]
    studio.corral("agents", "edit", name, "--cwd", studio.hand.root)
    assert studio.corral("messages", "replay", given_up["id"][-12:]).code == 0
    assert studio.work()["prompt"] == "Anybody there?"
    assert studio.corral("messages", "replay", given_up["id"]).code == 1


def test_lists_work_while_no_server_runs_and_what_needs_one_says_so(studio: Studio, folder: Path) -> None:
    where = {"CORRAL_DATA": str(folder / "fresh")}
    (folder / "fresh").mkdir()
    made = studio.command("agents", "create", "Ada", "--role", "Leads", "--model", "m", **where)
    assert made.code == 0, made.err
    assert studio.command("tasks", "create", "ada", "Later", **where).code == 0
    assert "Later" in studio.command("tasks", **where).out
    assert studio.command("ask", "ada", "Now?", **where).code == 3


def test_the_shell_completes_names_of_agents(studio: Studio) -> None:
    name = studio.agent("Quincy")
    env = {"_CORRAL_COMPLETE": "complete_bash", "COMP_WORDS": "corral ask Quin", "COMP_CWORD": "2"}
    assert name in studio.corral(**env).out.splitlines()
    offline = {**env, "CORRAL_DATA": str(studio.folder / "none")}
    assert studio.command(**offline).out.strip() == ""


def test_doctor_names_the_agents_that_lack_a_key(studio: Studio) -> None:
    name = f"Ora-{studio.mark}"
    made = studio.corral("agents", "create", name, "--role", "Writes", "--provider", "openrouter", "--model", "m")
    assert made.code == 0, made.err
    assert re.search(rf"no OPENROUTER_API_KEY, which .*{name}", studio.corral("doctor").out)
    secret = {"key": "OPENROUTER_API_KEY", "value": "x", "agentId": made.out.strip(), "scope": "agent"}
    assert studio.api.post("/api/secrets", body=secret).status_code == 200
    assert name not in studio.corral("doctor").out
