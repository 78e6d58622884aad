"""Agents hand work to each other across machines: real Claude Codes, provider agents, a person in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import make_runner
from tests.flows.company import Company, file, hand, lines, use
from tests.support.http import JSON
from tests.support.model import Model
from tests.support.server import Server
from tests.support.waiting import eventually, never

GATE = "while [ ! -e {} ]; do sleep 0.05; done"


@pytest.fixture(scope="module")
def company(session_folder: Path, model: Model, claude_binary: Path) -> Iterator[Company]:
    """A server and three machines; the first takes one run at a time."""
    urls = {
        "ANTHROPIC_BASE_URL": model.url,
        "OPENAI_BASE_URL": f"{model.url}/v1",
        "OPENROUTER_BASE_URL": f"{model.url}/api/v1",
    }
    folder = session_folder / "company"
    server = Server(folder, env=urls).start()
    sizes = {"one": 1, "two": 4, "three": 4}
    machines = {
        name: make_runner(folder / name, server, model, name=name, max_pods=size).start()
        for name, size in sizes.items()
    }
    made = Company(server, machines, model)
    for machine in machines.values():
        machine.wait_online(made.api)
    for provider in ("ANTHROPIC", "OPENAI", "OPENROUTER"):
        made.api.post("/api/secrets", body={"key": f"{provider}_API_KEY", "value": "any"}).raise_for_status()
    yield made
    made.api.close()
    for machine in machines.values():
        machine.stop()
    server.stop()


def test_a_tree_over_three_machines_asks_a_person_outlives_its_server_and_comes_back(company: Company) -> None:
    lead, leaf = company.agent("Lead", "one"), company.agent("Leaf", "three")
    above, asking, below = (
        company.agent(name, on) for name, on in (("Above", "anthropic"), ("Asking", "two"), ("Below", "openai"))
    )
    script = "%say leaf in {{cwd}}"
    for boss, to in ((below, leaf), (asking, below), (above, asking)):
        ask = [use(boss, "ask_human", question="Which?", options=["red", "blue"]), "%next"] if boss is asking else []
        script = lines(*ask, hand(boss, to, script), f"%say {boss['name']} heard {{{{result}}}}")
    task = company.task(lead, lines(hand(lead, above, script), "%say done: {{result}}"))

    part = company.part(task, asking)
    card = company.question(part)
    assert (card["kind"], card["tool"], card["description"]) == ("question", "ask_human", "Which?")
    assert [one["status"] for one in company.tree(task)] == ["waiting"] * 3
    company.server.kill()
    company.server.restart()
    assert company.answer(card, "allow", answers={"Which?": "red"}) == 200
    assert company.answer(card, "allow") == 409

    between = (above, asking, below)
    heard = [*(f"{one['name']} heard " for one in between), f"leaf in {company.machines['three'].work}"]
    assert company.result(task, within=90) == "done: " + "".join(heard)
    tree = company.tree(task)
    assert [one["assignee"] for one in tree] == [one["id"] for one in (lead, *between, leaf)]
    assert {one["status"] for one in tree} == {"done"}
    for one in tree:
        company.hold(one["run_id"])
    results = [str(payload) for payload in company.payloads(part["run_id"], "agent.tool_result")]
    assert ["red" in result for result in results] == [True, False]
    machines = [company.run(one["run_id"])["runnerName"] for one in tree]
    assert machines == ["one", None, "two", None, "three"]
    on_machines = [one["run_id"] for one, machine in zip(tree, machines, strict=True) if machine]
    assert {len(company.payloads(run, "run.started")) for run in on_machines} == {1}


def test_a_result_that_nobody_waits_for_resumes_the_delegator_in_its_own_session(company: Company) -> None:
    lead, leaf = company.agent("Patient", "one"), company.agent("Slow", "two")
    gate = company.machines["two"].work / "slow-gate"
    script = lines(f"%bash {GATE.format(gate)}", "%say the leaf's word")
    task = company.task(
        lead, lines("%keep", hand(lead, leaf, script, wait=False), "%say handed out", "%next", "%say heard: {{user}}")
    )
    part = company.part(task, leaf)
    lead_run = company.look(task)["run_id"]
    company.wait_event(lead_run, "session.waiting")
    company.status(task, "waiting")
    gate.touch()
    heard = company.result(task)
    assert f"[Corral] The task 'For Slow' ({part['id']}) is done. Slow says:" in heard
    assert heard.endswith("the leaf's word")
    company.hold(lead_run)
    assert len(company.payloads(lead_run, "run.started")) == 2
    assert len({one["session_id"] for one in company.payloads(lead_run, "session.init")}) == 1
    assert [one["task_id"] for one in company.payloads(lead_run, "bus.result")] == [part["id"]]


def test_a_delegator_whose_machine_dies_while_it_waits_hears_what_came_meanwhile(
    company: Company,
) -> None:
    lead, leaf = company.agent("Unlucky", "one"), company.agent("Steady", "two")
    gate = company.machines["two"].work / "steady-gate"
    script = lines(f"%bash {GATE.format(gate)}", "%say came meanwhile")
    task = company.task(lead, lines("%keep", hand(lead, leaf, script), "%say heard {{result}}"))
    part = company.part(task, leaf)
    company.wait_event(part["run_id"], "agent.tool_call")
    company.machines["one"].kill()
    gate.touch()
    company.status(part["id"], "done")
    company.machines["one"].start()
    assert company.result(task) == "heard came meanwhile"
    lead_run = company.look(task)["run_id"]
    company.hold(lead_run)
    assert len(company.payloads(lead_run, "run.started")) == 2
    assert len(company.payloads(lead_run, "bus.delegated")) == 1
    assert len(company.tree(task)) == 2


@pytest.mark.parametrize("waits", [True, False])
def test_a_delegator_that_is_paused_hears_what_came_meanwhile_once_it_goes_on(company: Company, *, waits: bool) -> None:
    lead, leaf = company.agent(f"Resting {waits}", "one"), company.agent(f"Busy {waits}", "two")
    gate = company.machines["two"].work / f"busy-gate-{waits}"
    script = lines(f"%bash {GATE.format(gate)}", "%say came meanwhile")
    then = ["%say heard {{result}}"] if waits else ["%say handed out", "%next", "%say heard {{user}}"]
    task = company.task(lead, lines("%keep", hand(lead, leaf, script, wait=waits), *then))
    part = company.part(task, leaf)
    lead_run = company.look(task)["run_id"]
    company.wait(lead_run, "WAITING")
    if not waits:
        company.wait_event(lead_run, "session.waiting")
    assert company.api.post("/api/runs/:id/pause", lead_run).status_code == 200
    company.wait(lead_run, "PAUSED")
    gate.touch()
    company.status(part["id"], "done")
    company.wait_event(lead_run, "bus.result")
    assert (company.look(task)["status"], company.look(task)["why"]) == ("waiting", "Paused by a person")
    assert company.api.post("/api/runs/:id/continue", lead_run, body={}).status_code == 200
    heard = company.result(task)
    assert (heard.startswith("heard "), "came meanwhile" in heard) == (True, True)
    company.hold(lead_run)
    assert len({one["session_id"] for one in company.payloads(lead_run, "session.init")}) == 1
    assert len(company.tree(task)) == 2


def test_two_agents_that_hand_each_other_the_same_thing_are_stopped_and_who_waits_holds_no_slot(
    company: Company,
) -> None:
    ping, pong = company.agent("Ping", "one"), company.agent("Pong", "one")  # which has one slot for the two
    work = company.machines["one"].work
    scripts = {}
    for one, other in ((ping, pong), (pong, ping)):
        # Each reads what the other is to be told, and tells it: for ever, if nobody stops them.
        handing = use(one, "delegate_task", to=other["name"], title="Yours", input="RESULT", wait=True)
        read, pass_on = f"%bash cat {work / other['name']}", handing.replace("RESULT", "{{result}}")
        scripts[one["name"]] = lines(read, "%next", pass_on, f"%say {one['name']}: {{{{result}}}}")
        file(work / one["name"], scripts[one["name"]])
    task = company.task(ping, scripts["Ping"])
    result = company.result(task, within=90)
    assert result.startswith("Ping: Pong: Refused (repeated): Ping was given this very task further up")
    first, second = company.tree(task)
    assert (first["assignee"], second["assignee"]) == (ping["id"], pong["id"])
    assert {company.run(one["run_id"])["runnerName"] for one in (first, second)} == {"one"}
    (refused,) = company.payloads(second["run_id"], "bus.refused")
    assert (refused["tool"], refused["code"]) == ("delegate_task", "repeated")


def test_two_agents_that_hand_each_other_ever_new_things_are_stopped(company: Company) -> None:
    tick, tock = company.agent("Tick", "anthropic"), company.agent("Tock", "openai")
    agents, script = (tick, tock), "%say too far"
    for level in reversed(range(10)):
        script = lines(hand(agents[level % 2], agents[(level + 1) % 2], script), f"%say {level} {{{{result}}}}")
    result = company.result(company.task(tick, script))
    assert result.startswith("0 1 2 3 4 5 6 7 8 Refused (depth): Tasks may be handed on 8 levels deep")


def test_a_tree_that_is_cancelled_leaves_nothing_running(company: Company) -> None:
    lead, middle, leaf = (company.agent(name, on) for name, on in (("Top", "one"), ("Mid", "two"), ("Low", "three")))
    flag = company.machines["three"].work / "cancelled-too-late"
    script = lines(f"%bash touch {flag}-begun; {GATE.format(flag)}", "%say never")
    task = company.task(lead, hand(lead, middle, hand(middle, leaf, script)))
    company.part(task, leaf)
    eventually(flag.with_name(f"{flag.name}-begun").exists)
    answer = company.api.post("/api/tasks/:id/cancel", task, body={"tree": True})
    assert (answer.status_code, answer.json()["cancelled"]) == (200, 3)
    tree = company.tree(task)
    for one in tree:
        company.status(one["id"], "error")
        company.wait(one["run_id"], "CANCELLED")
        company.hold(one["run_id"])
    never(lambda: [one for one in _world(company) if one["name"] in ("Top", "Mid", "Low") and one["run_id"]])
    assert company.api.post("/api/tasks/:id/cancel", task, body={"tree": True}).status_code == 409


def _world(company: Company) -> list[JSON]:
    entries: list[JSON] = company.api.get("/api/agents/world").raise_for_status().json()
    return entries
