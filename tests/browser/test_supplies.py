"""What agents' runs are given: secrets that nobody sees again, and MCP servers with their tools."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.console import Console
from tests.browser.office import Office
from tests.browser.test_agents import named
from tests.support import mcp_server
from tests.support.http import Api

LINES = "-----BEGIN KEY-----\nfirst-line-of-the-value\nsecond-line-of-the-value\n-----END KEY-----"


def shown(page: Page) -> str:
    """All that the page holds, fields included, and all that this tab keeps."""
    held: str = page.evaluate(
        "() => [document.documentElement.outerHTML, JSON.stringify(sessionStorage), JSON.stringify(localStorage),"
        " ...[...document.querySelectorAll('input, textarea')].map((field) => field.value)].join()"
    )
    return held


def test_a_run_that_waits_for_a_secret_leads_to_its_form_and_goes_on_and_the_value_is_gone(
    console: Console, api: Api
) -> None:
    office, key = Office(api, named("lacks")).open(), named("KEY").upper().replace("-", "_")
    agent = office.agent(named("lacking"), autostart=True)
    body = {"name": named("server"), "transport": "http", "url": "http://127.0.0.1:9/mcp"}
    limited = {"enabled_for": "agents", "agents": [agent], "headers": {"A": f"${{{key}}}"}}
    server = api.post("/api/mcps", body={**body, **limited}).json()["id"]
    task = office.task("Wait for the key", agent)
    page = console.goto(f"/app/tasks/{task}")
    expect(page.locator(".notice")).to_contain_text(f"The secret {key} is missing")
    page.get_by_role("link", name="Store it").click()
    expect(page.get_by_label("Name")).to_have_value(key)
    value = page.get_by_label("Value")
    expect(value).to_be_focused()
    assert value.evaluate("field => getComputedStyle(field).webkitTextSecurity") == "disc"
    page.get_by_label("Show it while I paste it").check()
    assert value.evaluate("field => getComputedStyle(field).webkitTextSecurity") == "none"

    page.get_by_label("Name").fill("")  # what is refused stays in its box, though no answer held it
    page.get_by_label("Name").evaluate("field => { field.required = false; field.removeAttribute('pattern') }")
    value.fill(LINES)
    page.get_by_role("button", name="Store it").click()
    expect(page.locator("#key-wrong")).to_contain_text("Capital letters")
    expect(value).to_have_value(LINES)
    page.get_by_label("Name").fill(key)
    value.press("Control+Enter")
    expect(page.get_by_role("status").filter(has_text="Stored as version 1")).to_be_visible()
    expect(console.heading()).to_have_text(key)
    expect(page.locator("main")).to_contain_text(body["name"])
    assert "line-of-the-value" not in shown(page)
    page.go_back()
    page.go_forward()
    expect(page.get_by_label("Value")).to_have_value("")
    assert "line-of-the-value" not in shown(page)

    work = office.begin()
    assert work.claimed["env"][key] == LINES
    page.goto(f"/app/secrets/one?key={key}")
    use = page.get_by_role("row", name=re.compile("Wait for the key"))
    expect(use).to_contain_text("lacking")
    use.get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"/app/runs/"))
    work.complete("Done")
    api.delete("/api/mcps/:id", server)
    api.delete("/api/secrets", query={"key": key})


def test_a_secret_is_replaced_and_deleted_and_says_if_it_cannot_be_masked(console: Console, api: Api) -> None:
    key = named("KEY").upper().replace("-", "_")
    api.post("/api/secrets", body={"key": key, "value": "first-value-1"})
    page = console.goto("/app/secrets")
    page.locator(f"#secret-{key}-org").get_by_role("link", name=key).click()
    expect(console.heading()).to_have_text(key)
    page.get_by_role("link", name="Replace…").click()
    expect(console.heading()).to_have_text(f"Replace {key}")
    page.get_by_label("Value").fill("12345")
    page.get_by_role("button", name="Replace it").click()
    expect(page.get_by_role("alert")).to_contain_text("shorter than 8 characters")
    expect(page.locator(".facts")).to_contain_text("version 2")
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog", name=f"Delete {key}?")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    dialog.get_by_role("button", name="Delete the secret").click()
    expect(console.heading()).to_have_text("Secrets")
    expect(page.locator(f"#secret-{key}-org")).to_have_count(0)


def test_a_server_is_added_tested_and_its_tools_are_ruled(console: Console, api: Api, tmp_path: Path) -> None:
    office = Office(api, named("mcp"))
    agent = office.agent(name := named("platform"), cli_name=None)
    page = console.goto("/app/mcps")
    page.keyboard.press("c")
    server = named("probe")
    page.get_by_label("Name", exact=True).fill(server)
    expect(page.get_by_label("Address", exact=True)).to_be_hidden()
    page.get_by_label("Called over HTTP").check()
    expect(page.get_by_label("Command", exact=True)).to_be_hidden()
    page.get_by_label("Started where the agent works").check()
    page.get_by_label("Command", exact=True).fill(sys.executable)
    page.get_by_label("Arguments").fill(f"-P\n{Path(str(mcp_server.__file__)).resolve()}")
    variables = page.get_by_label("Variables")
    variables.press_sequentially("TOKEN=${NOBODY_STORED_THIS}")
    expect(page.get_by_text("Nobody has stored NOBODY_STORED_THIS yet")).to_be_visible()
    variables.fill(f"MCP_PIDS={tmp_path / 'pids'}")
    expect(page.get_by_text("Nobody has stored")).to_have_count(0)
    page.get_by_label("Some agents").check()
    page.get_by_label(re.compile(name)).check()
    page.get_by_role("button", name="Add the server").click()
    expect(console.heading()).to_have_text(server)
    expect(page.locator(".facts").first).to_contain_text("Not tested")

    expect(page.get_by_label("Try it as")).to_have_value(agent)
    page.get_by_role("button", name="Test", exact=False).click()
    expect(page.get_by_text("Starting it")).to_be_visible()
    expect(page.get_by_text("Starting it")).to_be_hidden()
    expect(page.locator(".facts").first).to_contain_text("Works")
    expect(page.locator(".facts").first).to_contain_text("the platform")
    page.get_by_label("Calls of crash").select_option("denied")
    page.get_by_label("Calls of echo").select_option("allowed")
    page.get_by_label("Also asked about").fill("f*")
    page.get_by_role("button", name="Save the rules").click()
    expect(page.get_by_role("row", name=re.compile("freeze"))).to_contain_text("Asks a person")
    page.reload()
    expect(page.get_by_label("Calls of crash")).to_have_value("deny:crash")
    (kept,) = [one for one in api.get("/api/mcps").json() if one["name"] == server]
    assert (kept["deny"], kept["ask"], kept["allow"]) == (["crash"], ["f*"], ["echo"])

    page.goto(f"/app/agents/{agent}")
    page.get_by_role("link", name=server).click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete the server").click()
    expect(console.heading()).to_have_text("MCP servers")
    expect(page.locator(f"#mcp-{kept['id']}")).to_have_count(0)
