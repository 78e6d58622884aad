"""MCP servers of a team, over both transports, used by Claude Code on a runner and by an agent inside the platform."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, RunnerMaker, ServerMaker
from tests.flows.company import Company, lines
from tests.mcp import probe
from tests.support import bad_mcp
from tests.support.http import JSON
from tests.support.model import Model
from tests.support.processes import Process, base_env, free_port, is_alive
from tests.support.waiting import eventually


@pytest.fixture
def company(make_server: ServerMaker, model: Model) -> Iterator[Company]:
    made = Company(make_server(env={"ANTHROPIC_BASE_URL": model.url}), {}, model)
    for key in ("ANTHROPIC_API_KEY", "TOKEN"):
        made.api.post("/api/secrets", body={"key": key, "value": "sk-the-value-itself"}).raise_for_status()
    yield made
    made.api.close()


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-P", str(bad_mcp.__file__), "none", "--http", str(port)]
    process = Process("far mcp", command, env=base_env(folder), log=folder / "far.log", cwd=folder)
    probe.start(process, port)
    yield f"http://127.0.0.1:{port}/mcp"
    process.stop()


def add(company: Company, **fields: object) -> JSON:
    answer = company.api.post("/api/mcps", body={"enabled_for": "teams", "teams": ["red"], **fields})
    assert answer.status_code == 201, answer.text
    made: JSON = answer.json()
    return made


def stdio(folder: Path) -> JSON:
    args = ["-P", str(bad_mcp.__file__), "none"]
    env = {"SECRET": "${TOKEN}", "PYTHONPATH": str(REPOSITORY), bad_mcp.PIDS: str(folder / "pids")}
    return {"name": "near", "transport": "stdio", "command": sys.executable, "args": args, "env": env}


def pids(text: str) -> list[int]:
    """The processes that answered."""
    return [int(pid) for pid in re.findall(r"by (\d+)", text)]


def shown(company: Company, name: str) -> JSON:
    found: list[JSON] = company.api.get("/api/mcps").raise_for_status().json()
    return next(one for one in found if one["name"] == name)


def used(company: Company, name: str, machine: str) -> list[JSON]:
    return [use for use in shown(company, name)["uses"] if use["machine"] == machine]


def test_a_teams_servers_are_used_and_tested_where_its_agents_are(
    company: Company, start_runner: RunnerMaker, folder: Path, url: str
) -> None:
    company.machines = {"one": start_runner(company.server, name="one")}
    near, far = add(company, **stdio(folder)), add(company, name="far", transport="http", url=url)
    assert shown(company, "near")["status"] == "unknown"
    coder, thinker = company.agent("Coder", "one", team="red"), company.agent("Thinker", "anthropic", team="red")
    for agent, tool, machine in ((coder, "mcp__{}__tell", "one"), (thinker, "{}__tell", "the platform")):
        script = lines(*(f"%tool {tool.format(name)} {{}}" for name in ("near", "far")), "%next", "%say {{result}}")
        assert len(pids(company.result(company.task(agent, script)))) == 2
        for server in (near, far):
            told = eventually(functools.partial(used, company, server["name"], machine), what="how it was is known")
            assert (told[0]["ok"], told[0]["error"]) == (True, None)
            tested = company.api.post("/api/mcps/:id/test", server["id"], body={"agent": agent["id"]}).json()
            assert (tested["error"], tested["machine"]) == (None, machine)
            assert {tool["name"] for tool in tested["tools"]} == {"go", "tell", "grow"}
    assert shown(company, "near")["status"] == "ok"
    stranger = company.agent("Stranger", "anthropic", team="blue")
    assert "no tool near__tell" in company.result(company.task(stranger, "%tool near__tell {}\n%say {{result}}"))


def test_a_run_keeps_its_servers_while_they_are_changed_and_deleted(company: Company, folder: Path) -> None:
    server = add(company, **stdio(folder), ask=["grow"])
    agent = company.agent("Thinker", "anthropic", team="red")
    tell = lines("%tool near__tell {}", "%say {{result}}")
    (first,) = pids(company.result(company.task(agent, tell)))
    assert pids(company.result(company.task(agent, tell))) == [first]  # kept for the agent's next run

    task = company.task(agent, lines("%tool near__grow {}", "%next", tell))
    asked = company.question(company.status(task, "waiting"))
    changed = company.api.patch(
        "/api/mcps/:id", server["id"], body={"env": {**server["env"], "MORE": "1"}, "ask": None}
    )
    assert changed.status_code == 200, changed.text
    company.api.post("/api/approvals/:id", asked["id"], body={"decision": "allow"}).raise_for_status()
    assert pids(company.result(task)) == [first]  # it asked, as it was told at its start
    eventually(lambda: not is_alive(first), what="the connection is not kept for others")
    (second,) = pids(company.result(company.task(agent, tell)))
    assert second != first

    company.api.delete("/api/mcps/:id", server["id"]).raise_for_status()
    eventually(lambda: not is_alive(second), what="nothing is left of a server that is gone")
    assert "no tool near__tell" in company.result(company.task(agent, tell))


def test_what_the_operator_does_not_allow_is_said_in_the_log_and_in_the_servers_health(
    make_server: ServerMaker, model: Model, folder: Path, url: str
) -> None:
    env = {"ANTHROPIC_BASE_URL": model.url, "CORRAL_PROVIDER_STDIO": "off", "CORRAL_PROVIDER_HOSTS": "192.0.2.0/24"}
    company = Company(make_server(env=env), {}, model)
    company.api.post("/api/secrets", body={"key": "ANTHROPIC_API_KEY", "value": "any"}).raise_for_status()
    add(company, **{**stdio(folder), "env": {}})
    add(company, name="far", transport="http", url=url)
    agent = company.agent("Thinker", "anthropic", team="red")
    task = company.task(agent, "%say done")
    assert company.result(task) == "done"
    told = [one["message"] for one in company.payloads(company.look(task)["run_id"], "agent.needs_attention")]
    for name, setting in (("near", "CORRAL_PROVIDER_STDIO"), ("far", "CORRAL_PROVIDER_HOSTS")):
        assert [message for message in told if name in message and setting in message]
        (use,) = eventually(functools.partial(used, company, name, "the platform"), what="how it was is known")
        assert setting in use["error"]
        assert shown(company, name)["status"] == "failing"
        answer = company.api.post("/api/mcps/:id/test", shown(company, name)["id"], body={}).json()
        assert setting in answer["error"]
    company.api.close()
