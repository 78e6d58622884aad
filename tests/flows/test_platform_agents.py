"""Agents without a machine: executed by the server itself, through the providers' official SDKs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, ServerMaker
from tests.flows.company import MODELS, Company
from tests.support import mcp_server
from tests.support.http import JSON, frames
from tests.support.model import Model
from tests.support.waiting import eventually


@pytest.fixture
def company(make_server: ServerMaker, model: Model) -> Iterator[Company]:
    """A server of this test's own, with a key for each provider."""
    urls = {
        "ANTHROPIC_BASE_URL": model.url,
        "OPENAI_BASE_URL": f"{model.url}/v1",
        "OPENROUTER_BASE_URL": f"{model.url}/api/v1",
    }
    made = Company(make_server(env=urls), {}, model)
    for name in ("ANTHROPIC", "OPENAI", "OPENROUTER"):
        stored = made.api.post("/api/secrets", body={"key": f"{name}_API_KEY", "value": "sk-any", "scope": "org"})
        assert stored.status_code == 200, stored.text
    yield made
    made.api.close()


def runs(company: Company) -> list[JSON]:
    listed: list[JSON] = company.api.get("/api/v1/runs").raise_for_status().json()["data"]
    return listed


def told(company: Company, task: str) -> list[tuple[str, str]]:
    """Execute a task, and return what its stream says."""
    with company.api.stream("/api/run", body={"taskId": task}) as stream:
        assert stream.status_code == 200, stream.read()
        return [(frame.json()["type"], frame.json()["text"]) for frame in frames(stream)]


def test_an_agent_of_each_provider_uses_the_tools_of_a_real_mcp_server(company: Company, folder: Path) -> None:
    server = {
        "name": "probe",
        "transport": "stdio",
        "command": sys.executable,
        "args": ["-m", mcp_server.__name__],
        "env": {mcp_server.PIDS: str(folder / "pids"), "PYTHONPATH": str(REPOSITORY)},
    }
    assert company.api.post("/api/mcps", body=server).status_code == 201
    script = '%think Hm\n%tool probe__echo {"text": "hello"}\n%tool list_agents {}\n%say {{result}}'
    for provider in MODELS:
        agent = company.agent(f"Ada of {provider}", on=provider, autostart=False)
        types = told(company, company.task(agent, script))
        assert [kind for kind, _ in types] == [
            "thinking", "tool_call", "tool_call", "tool_result", "tool_result", "output",
        ]  # fmt: skip
        assert types[0] == ("thinking", "Hm")
        text = types[-1][1]
        assert text.startswith("hello")
        assert agent["name"] in text
    newest = runs(company)[0]
    assert (newest["status"], newest["runnerId"]) == ("COMPLETED", None)
    assert company.api.get("/api/v1/runners").json() == {"runners": []}


def test_a_run_waits_for_its_providers_key_and_says_so(company: Company) -> None:
    gone = company.api.delete("/api/secrets", query={"key": "OPENAI_API_KEY", "scope": "org"})
    assert gone.status_code == 200, gone.text
    task = company.task(company.agent("Ada", on="openai"), "%say x")
    why = "the secret OPENAI_API_KEY is missing, which provider openai needs"
    eventually(lambda: company.look(task)["why"] == why)
    company.api.post("/api/secrets", body={"key": "OPENAI_API_KEY", "value": "sk-any"}).raise_for_status()
    assert company.result(task) == "x"


def test_a_killed_server_goes_on_where_it_was(company: Company) -> None:
    agent = company.agent("Ada", on="anthropic")
    task = company.task(agent, '%tool ask_human {"question": "Go on?"}\n%say part\n%stall x1\n%say whole: {{result}}')
    asked = eventually(lambda: company.api.get("/api/approvals").json(), what="a person is asked")
    company.server.kill()
    company.server.restart()
    answer = {"decision": "allow", "answers": {"Go on?": "yes"}}
    done = company.api.post("/api/approvals/:id", asked[0]["id"], body=answer)
    assert done.status_code == 200, done.text
    eventually(lambda: [one for one in company.model.served(status="open") if one["usage"]["output_tokens"]])
    company.server.kill()
    company.server.restart()
    assert company.result(task).endswith("yes")
    assert len(company.api.get("/api/approvals").json()) == 1
