"""The console's pages of secrets: values go in and come out nowhere, and who may not is shown no form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from corral.agents import roster
from corral.base.ids import new_id
from corral.platform.database import fetch
from corral.secrets import vault
from tests.support.http import Api
from tests.support.waiting import eventually
from tests.web.conftest import Person, Running

VALUE = "-----BEGIN KEY-----\nline-one-of-the-value\nline-two-of-the-value\n-----END KEY-----\n"
NEW = "/app/secrets/new"

PersonMaker = Callable[[str], Person]


def an_agent(running: Running, name: str, **fields: Any) -> str:
    words = {"name": name, "role": "tests", "glyph": "🐎", "model": "m", "provider": "anthropic"}
    return str(
        running.do(roster.create(1, new_id(), {**words, "allowed_tools": "", "provider_config": {}, **fields})).id
    )


def stored(running: Running, agent: str | None = None) -> dict[str, str]:
    found: dict[str, str] = running.do(vault.resolve(1, agent, "user:tests"))
    return found


def test_a_pasted_value_is_kept_to_the_letter_and_stands_in_no_page(running: Running, person: PersonMaker) -> None:
    admin = person("admin")
    answer = admin.post(NEW, key="PASTED", value=VALUE.replace("\n", "\r\n"))
    assert answer.status_code == 200
    assert "Stored as version 1" in answer.text
    assert stored(running)["PASTED"] == VALUE
    refused = admin.post(NEW, key="PASTED", value=VALUE)
    assert refused.status_code == 400
    assert "There is one by this name" in refused.text
    replaced = admin.post(NEW, key="PASTED", value="another-value-1\n", replace="true")
    assert "Stored as version 2" in replaced.text
    assert stored(running)["PASTED"] == "another-value-1"  # `pbcopy` and a click take the end of the line along
    pages = [admin.get(path) for path in ("/app/secrets", "/app/secrets/one?key=PASTED", f"{NEW}?key=PASTED")]
    for text in (answer.text, refused.text, replaced.text, *pages):
        assert "PASTED" in text
        for line in (*VALUE.splitlines()[1:3], "another-value-1"):
            assert line not in text
    assert admin.post("/app/secrets/delete", key="PASTED").headers["Location"] == "/app/secrets"
    assert "PASTED" not in stored(running)
    assert "There is nothing here" in admin.get("/app/secrets/one?key=PASTED", 404)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"key": "lower", "value": "v"}, "key", "Capital letters"),
        ({"key": "A" * 201, "value": "v"}, "key", "At most 200"),
        ({"key": "OK", "value": ""}, "value", "Paste the value"),
        ({"key": "OK", "value": "x" * 65537}, "value", "65,536 bytes"),
        ({"key": "OK", "value": "v", "agent": "nobody"}, "agent", "no such agent"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    person: PersonMaker, fields: dict[str, str], field: str, says: str
) -> None:
    answer = person("admin").post(NEW, **fields)
    assert answer.status_code == 400
    wrong = answer.text.partition(f'id="{field}-wrong"')[2].partition("</span>")[0]
    assert says in wrong


def test_whoever_stores_what_cannot_be_masked_is_told(person: PersonMaker) -> None:
    admin = person("admin")
    for value, says in (("short", "shorter than 8"), ("production", "ordinary word"), ("sk-long-enough-123", None)):
        text = admin.post(NEW, key="MASKED_OR_NOT", value=value, replace="true").text
        assert ("It is not masked" in text) is (says is not None)
        assert says is None or says in text


def test_an_agents_own_secret_has_its_own_page_and_form(running: Running, person: PersonMaker) -> None:
    admin, agent = person("admin"), an_agent(running, "Zoë")
    assert admin.post(NEW, key="BOTH", value="of-the-org-1").status_code == 200
    assert admin.post(NEW, key="BOTH", value="of-the-agent-1", agent=agent).status_code == 200
    assert (stored(running)["BOTH"], stored(running, agent)["BOTH"]) == ("of-the-org-1", "of-the-agent-1")
    assert "Zoë" in admin.get(f"/app/secrets/one?key=BOTH&agent={agent}")
    assert f'name="agent" value="{agent}"' in admin.get(f"{NEW}?key=BOTH&agent={agent}")
    own = admin.get(f"/app/agents/{agent}").partition("<span>secrets</span>")[2].partition("</p>")[0]
    assert own.count("BOTH</code></a> its own") == 1
    admin.post("/app/secrets/delete", key="BOTH", agent=agent)
    assert stored(running, agent)["BOTH"] == "of-the-org-1"


def test_uses_lead_to_their_runs_and_page_by_page_to_the_first(
    running: Running, full: Api, person: PersonMaker
) -> None:
    run = full.post("/api/v1/runs", body={"prompt": "Use the secret", "cwd": "/srv"}).json()["id"]
    full.post("/api/secrets", body={"key": "USED", "value": "v"})
    for attempt in range(1, 53):
        running.do(vault.resolve(1, None, f"run:{run}", attempt))
    viewer = person("viewer")
    first = viewer.get("/app/secrets/one?key=USED")
    assert first.count(f'href="/app/runs/{run}">Use the secret') == 50
    older = first.partition('<nav class="pager"')[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    assert viewer.get(older).count(f'href="/app/runs/{run}">Use the secret') == 2
    assert f"/app/runs/{run}" in viewer.get("/app/secrets")


def test_a_run_held_for_a_secret_leads_to_the_form_with_its_name(
    running: Running, full: Api, person: PersonMaker
) -> None:
    agent = an_agent(running, "Held", autostart=True)

    def lacking_a_providers_key() -> str:
        row = person("viewer").get("/app/secrets").partition('id="need-provider-ANTHROPIC_API_KEY"')[2]
        return row.partition("</tr>")[0]

    assert "Anthropic’s API is called with it" in lacking_a_providers_key()
    assert "Held" in lacking_a_providers_key()
    key = {"key": "ANTHROPIC_API_KEY", "value": "sk-ant-of-nobody", "agentId": agent}
    assert full.post("/api/secrets", body=key).status_code == 200
    assert "Held" not in lacking_a_providers_key()
    body = {"name": "held", "transport": "http", "url": "https://host/", "headers": {"A": "${HELD_FOR}"}}
    server = full.post("/api/mcps", body={**body, "enabled_for": "agents", "agents": [agent]}).json()["id"]
    task = full.post("/api/tasks", body={"title": "t", "input": "i", "assignee": agent}).json()["id"]
    run = eventually(lambda: full.get("/api/tasks/:id", task).json()["run_id"], what="its run is queued")
    admin, viewer = person("admin"), person("viewer")
    link = f'href="{NEW}?key=HELD_FOR"'
    assert link in admin.get("/app/secrets")
    for path in ("/app/secrets", f"/app/mcps/{server}", f"/app/runs/{run}", f"/app/tasks/{task}"):
        assert link in admin.get(path), path
        text = viewer.get(path)
        assert "HELD_FOR" in text
        assert link not in text
    assert 'value="HELD_FOR"' in admin.get(f"{NEW}?key=HELD_FOR")
    full.post("/api/tasks/:id/cancel", task)


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_who_is_no_admin_sees_names_and_no_form(running: Running, full: Api, person: PersonMaker, role: str) -> None:
    full.post("/api/secrets", body={"key": "LOOKED_AT", "value": "v"})
    somebody = person(role)
    for path in ("/app/secrets", "/app/secrets/one?key=LOOKED_AT"):
        page = somebody.get(path)
        assert "LOOKED_AT" in page
        main = page.partition("<main")[2].partition("</main>")[0]
        assert "<form" not in main
        assert NEW not in main
    somebody.get(NEW, 403)
    assert somebody.post(NEW, key="LOOKED_AT", value="w", replace="true").status_code == 403
    assert somebody.post("/app/secrets/delete", key="LOOKED_AT").status_code == 403
    assert stored(running)["LOOKED_AT"] == "v"


def test_a_form_without_its_token_stores_nothing(running: Running, person: PersonMaker) -> None:
    answer = person("admin").post(NEW, key="FORGED", value="v", csrf="0" * 64)
    assert answer.status_code == 403
    assert "FORGED" not in stored(running)


def test_an_empty_page_says_what_to_do(running: Running, person: PersonMaker) -> None:
    for table in ("secrets", "mcp_servers"):
        running.do(fetch(f"DELETE FROM {table} WHERE org_id = 1"))
    running.do(fetch("UPDATE agents SET state = 'archived'"))  # they lack the keys of their providers
    assert "No secret is stored yet" in person("admin").get("/app/secrets")
    assert "Owners and admins store them" in person("viewer").get("/app/secrets")
    assert "No MCP server yet" in person("admin").get("/app/mcps")
