"""The console's pages of MCP servers."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest

from corral.mcp import servers, uses
from corral.mcp.servers import Server
from corral.mcp.uses import Seen
from corral.platform import plans
from corral.platform.plans import Plan, Plans
from corral.web.console import mcp_form
from corral.wire.runner import McpTested, McpTool
from tests.support.http import Api
from tests.web.conftest import Person, Running
from tests.web.test_secret_pages import an_agent

PersonMaker = Callable[[str], Person]
STDIO = {"transport": "stdio", "command": "npx", "enabled_for": "all"}


def added(running: Running, admin: Person, name: str, **fields: object) -> Server:
    answer = admin.post("/app/mcps", **{**STDIO, "name": name, **fields})
    assert answer.status_code == 303, answer.text
    return kept(running, answer.headers["Location"].rpartition("/")[2])


def kept(running: Running, server_id: str) -> Server:
    found: Server = running.do(servers.get(1, server_id))
    return found


def test_the_form_adds_a_server_as_it_was_written(running: Running, person: PersonMaker) -> None:
    admin = person("admin")
    one = added(
        running, admin, "written", args="-y\r\n@scope/name\r\n\r\n", env="TOKEN=${A_TOKEN}\r\nEMPTY=\r\nSUM=a=b\r\n",
        url="https://ignored/", headers="X: y",
    )  # fmt: skip
    assert (one.command, one.args) == ("npx", ["-y", "@scope/name"])
    assert one.env == {"TOKEN": "${A_TOKEN}", "EMPTY": "", "SUM": "a=b"}
    assert (one.url, one.headers) == (None, {})
    other = added(
        running, admin, "called", transport="http", url="https://host/mcp", headers="Authorization: Bearer ${B}\nX-A:1"
    )
    assert other.headers == {"Authorization": "Bearer ${B}", "X-A": "1"}
    assert (other.command, other.env) == (None, {})
    page = admin.get(f"/app/mcps/{one.id}")
    assert "${A_TOKEN}" in page
    assert "A_TOKEN</code> is missing" in page


def test_what_the_form_cannot_show_in_lines_survives_it(running: Running, full: Api, person: PersonMaker) -> None:
    odd = {"args": ["", " spaced", "two\nlines"], "env": {"PEM": "-----\n\n a\n-----\n", "B": " 1 "}}
    made = full.post("/api/mcps", body={"name": "odd", "transport": "stdio", "command": "c", **odd}).json()
    admin, path = person("admin"), f"/app/mcps/{made['id']}/edit"
    filled = mcp_form.filled(kept(running, made["id"]))
    shown = admin.get(path)
    fields = {**STDIO, "name": "odd", "command": "another", "args": filled.args, "env": filled.env}
    for text in (filled.args, filled.env):
        assert html.escape(text, quote=False) in shown
    answer = admin.post(path, **{name: value.replace("\n", "\r\n") for name, value in fields.items()})
    assert answer.status_code == 303
    after = kept(running, made["id"])
    assert (after.command, after.args, after.env) == ("another", odd["args"], odd["env"])
    admin.post(path, **{**fields, "env": "PEM=one\r\n two\r\n  three"})
    assert kept(running, made["id"]).env == {"PEM": "one\ntwo\n three"}


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"name": "a b"}, "name", "letters"),
        ({"name": "corral"}, "name", "Corral’s own"),
        ({"name": "taken"}, "name", "already"),
        ({"command": ""}, "command", "missing"),
        ({"transport": "pigeon"}, "transport", "Choose"),
        ({"transport": "http", "url": "host/mcp"}, "url", "https://"),
        ({"env": "A=1\nA=2"}, "env", "twice"),
        ({"env": "no sign"}, "env", "“no sign”"),
        ({"env": "A-B=1"}, "env", "A-B"),
        ({"transport": "http", "url": "https://h", "headers": "a b: c"}, "headers", "header"),
        ({"enabled_for": "agents"}, "enabled_for", "missing"),
        ({"enabled_for": "teams"}, "enabled_for", "missing"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    full: Api, person: PersonMaker, fields: dict[str, str], field: str, says: str
) -> None:
    full.post("/api/mcps", body={"name": "taken", "transport": "stdio", "command": "c"})
    answer = person("admin").post("/app/mcps", **{**STDIO, "name": "new", "env": "KEPT=1", **fields})
    assert answer.status_code == 400
    wrong = html.unescape(answer.text.partition(f'id="{field}-wrong"')[2].partition("</span>")[0])
    assert says in wrong.replace("'", "’")
    assert "KEPT=1" in answer.text or "env" in fields


def test_tools_are_ruled_one_by_one_and_by_patterns(running: Running, person: PersonMaker) -> None:
    admin, viewer = person("admin"), person("viewer")
    one = added(running, admin, "ruled")
    tools = [McpTool(name, f"Does {name}") for name in ("read", "write", "delete_all")]
    running.do(servers.tested(1, one.id, McpTested(tools), "build-01"))
    path = f"/app/mcps/{one.id}"
    answer = admin.post(
        f"{path}/rules", rules=["allow:read", "deny:write", ""], deny="delete_*, later", ask="", allow=" "
    )
    assert answer.status_code == 303
    ruled = kept(running, one.id)
    assert (ruled.allow, ruled.ask, ruled.deny) == (["read"], [], ["write", "delete_*", "later"])
    shown = admin.get(path)
    assert 'value="allow:read" selected' in shown
    assert 'value="deny:write" selected' in shown
    assert 'value="delete_*, later"' in shown
    row = shown.partition("<code>delete_all</code>")[2].partition("</tr>")[0]
    assert "Denied" in row
    assert "build-01" in shown
    looked = viewer.get(path).partition("<main")[2].partition("</main>")[0]
    assert "Denied" in looked
    assert "<select" not in looked
    assert "<form" not in looked
    assert "denied <code>delete_*, later" in looked
    many = admin.post(f"{path}/rules", deny=",".join(f"t{n}" for n in range(201)))
    assert many.status_code == 400
    assert "At most 200" in many.text
    assert kept(running, one.id).deny == ruled.deny


def test_a_server_with_hundreds_of_tools_is_ruled_in_one_form(running: Running, person: PersonMaker) -> None:
    admin = person("admin")
    one = added(running, admin, "large")
    rules = [f"deny:tool_{n}" if n % 10 == 0 else "" for n in range(600)]
    assert admin.post(f"/app/mcps/{one.id}/rules", rules=rules).status_code == 303
    assert len(kept(running, one.id).deny) == 60


def test_a_test_from_the_page_says_what_failed_and_for_whom(running: Running, person: PersonMaker) -> None:
    admin, agent = person("admin"), an_agent(running, "Tester", team="red")
    one = added(
        running, admin, "unreachable", transport="http", url="http://127.0.0.1:9/mcp", enabled_for="teams", teams="red"
    )
    path = f"/app/mcps/{one.id}"
    assert f'<option value="{agent}" selected>' in admin.get(path)
    answer = admin.post(f"{path}/test", agent=agent)
    assert answer.status_code == 200
    assert "The last test failed" in answer.text
    assert "the platform" in answer.text
    assert "Fails" in admin.get("/app/mcps")
    refused = admin.post(f"{path}/test", runner="7")
    assert refused.status_code == 400
    assert "There is no runner 7 here" in refused.text
    given = admin.get(f"/app/agents/{agent}")
    assert f'href="{path}"' in given


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_who_is_no_admin_sees_servers_and_no_form(running: Running, person: PersonMaker, role: str) -> None:
    one = added(running, person("admin"), f"seen-by-{role}")
    somebody, path = person(role), f"/app/mcps/{one.id}"
    for page in ("/app/mcps", path):
        main = somebody.get(page).partition("<main")[2].partition("</main>")[0]
        assert one.name in main
        assert "<form" not in main
        assert "/app/mcps/new" not in main
    for page in ("/app/mcps/new", f"{path}/edit"):
        somebody.get(page, 403)
    for form in ("/app/mcps", f"{path}/edit", f"{path}/rules", f"{path}/test", f"{path}/delete"):
        assert somebody.post(form, **STDIO, name="x").status_code == 403
    assert kept(running, one.id).name == one.name


def test_without_the_feature_servers_can_be_deleted_and_nothing_else(
    running: Running, person: PersonMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = person("admin")
    one = added(running, admin, "from-before")
    plan = Plan("small", features={"mcp": False})
    monkeypatch.setattr(plans, "_plans", Plans({"small": plan}, plan))
    path = f"/app/mcps/{one.id}"
    for form in ("/app/mcps", f"{path}/edit", f"{path}/rules", f"{path}/test"):
        refused = admin.post(form, **STDIO, name="x")
        assert refused.status_code == 403
        assert "does not include MCP servers" in refused.text
    assert admin.post(f"{path}/delete").status_code == 303


def test_a_server_is_deleted(running: Running, person: PersonMaker) -> None:
    admin = person("admin")
    one = added(running, admin, "short-lived")
    assert admin.post(f"/app/mcps/{one.id}/delete").headers["Location"] == "/app/mcps"
    admin.get(f"/app/mcps/{one.id}", 404)


def test_how_runs_found_a_server_stands_beside_how_it_was_tested(running: Running, person: PersonMaker) -> None:
    admin = person("admin")
    one = added(running, admin, "used")
    path, run = f"/app/mcps/{one.id}", "0190f0f0-0000-7000-8000-000000000001"
    running.do(servers.tested(1, one.id, McpTested([McpTool("read")]), "build-01"))
    running.do(uses.note(1, "laptop <7>", run, [Seen(one.id, "it ended & <so> on")]))
    page = admin.get(path)
    assert "Fails" in page
    assert "laptop &lt;7&gt;" in page
    assert "it ended &amp; &lt;so&gt; on" in page
    assert f'href="/app/runs/{run}"' in page
    assert "it ended" in admin.get("/app/mcps")
    running.do(uses.note(1, "laptop <7>", run, [Seen(one.id, None)]))
    assert "it ended" not in admin.get("/app/mcps")
