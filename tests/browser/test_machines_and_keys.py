from __future__ import annotations

import re
from pathlib import Path

import httpx
from playwright.sync_api import expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.conftest import ServerMaker
from tests.support.by_hand import ByHand
from tests.support.http import Api
from tests.support.server import Server


def test_a_new_machine_gets_a_command_and_ticks_when_it_connects(
    make_server: ServerMaker, open_console: ConsoleMaker
) -> None:
    server = make_server()
    page = open_console(server).goto("/app/runners")
    page.get_by_role("link", name="Add a runner").first.click()
    page.get_by_label("A name for the machine").fill("build 01")
    page.get_by_label("Directories it may work in").fill("/srv/build-01")
    page.get_by_role("button", name="Make a key and show the command").click()
    command = page.locator("#runner-command").inner_text()
    assert f"CORRAL_URL={server.url}" in command
    assert "RUNNER_NAME='build 01'" in command
    assert "ALLOWED_DIRS=/srv/build-01" in command
    assert command.endswith("corral runner")
    expect(page.get_by_text("Waiting for the machine to connect")).to_be_visible()

    key = re.search(r"CORRAL_API_KEY=(\S+)", command)
    assert key is not None
    with server.api(key[1]) as its_own:
        machine = ByHand(its_own, "build-01")
        machine.register()
    expect(page.locator("[data-connected]")).to_contain_text("build-01")
    page.get_by_role("link", name="build-01").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("build-01")
    expect(page.locator("#live .status").first).to_have_text("Online")
    expect(page.locator("#live")).to_contain_text("Claude Code")


def test_a_directory_that_the_runner_would_refuse_is_refused_before_a_key_is_made(console: Console, api: Api) -> None:
    page = console.goto("/app/runners/new")
    page.get_by_label("A name for the machine").fill("nowhere")
    page.get_by_label("Directories it may work in").fill("~/code,relative/path")
    page.get_by_role("button", name="Make a key and show the command").click()
    expect(page.locator("#dirs-wrong")).to_have_text("relative/path is not an absolute path.")
    expect(page.get_by_label("Directories it may work in")).to_be_focused()
    assert "runner nowhere" not in {key["name"] for key in api.get("/api/v1/keys").json()["data"]}


def test_the_list_of_runners_says_what_each_found_and_may(console: Console, api: Api) -> None:
    machine = ByHand(api, "listed")
    machine.register()
    page = console.goto("/app/runners")
    row = page.get_by_role("row", name=re.compile("listed"))
    expect(row).to_contain_text("Online")
    expect(row).to_contain_text("Claude Code 9.9.9")
    expect(row).to_contain_text("/srv/listed")
    expect(row).to_contain_text("0/2")


def test_a_key_is_shown_once_works_and_is_revoked(console: Console, shared_server: Server) -> None:
    page = console.goto("/app/keys")
    page.get_by_label("Name", exact=True).fill("from the browser")
    page.get_by_label(re.compile("^Everything")).uncheck()
    page.get_by_label(re.compile("^See runs and their logs")).check()
    page.get_by_role("button", name="Make the key").click()
    key = page.locator("#made-key").inner_text()
    assert key.startswith("crl_live_")
    with shared_server.api(key) as caller:
        assert caller.get("/api/v1/runs").status_code == 200
        assert caller.get("/api/v1/runners").status_code == 403
        page.reload()
        expect(page.locator("#made-key")).to_have_count(0)
        assert key not in page.content()
        row = page.get_by_role("row", name=re.compile("from the browser"))
        expect(row).to_contain_text("runs:read")
        row.get_by_role("button", name="Revoke…").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("from the browser")
        dialog.get_by_role("button", name="Revoke the key").click()
        expect(page.get_by_role("row", name=re.compile("from the browser"))).to_have_count(0)
        assert caller.get("/api/v1/runs").status_code == 401


def test_a_runners_key_is_made_without_choosing_scopes(console: Console, shared_server: Server) -> None:
    page = console.goto("/app/keys")
    page.get_by_label("Name", exact=True).fill("a new machine")
    page.get_by_label(re.compile("^A runner")).check()
    expect(page.get_by_label(re.compile("^Everything"))).to_be_hidden()
    page.get_by_role("button", name="Make the key").click()
    key = page.locator("#made-key").inner_text()
    row = page.get_by_role("row", name=re.compile("a new machine"))
    expect(row).to_contain_text("runner’s work")
    with shared_server.api(key) as caller:
        assert caller.get("/api/v1/runs").status_code == 403
        assert caller.post("/api/v1/runners/register", body={}).status_code == 400


def test_a_key_is_given_a_limit_of_its_own(console: Console, shared_server: Server) -> None:
    page = console.goto("/app/keys")
    page.get_by_label("Name", exact=True).fill("limited")
    page.get_by_role("textbox", name="Requests a minute").fill("many")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#rate_limit-wrong")).to_have_text("A number from 1 to 100,000, or nothing.")
    page.get_by_role("textbox", name="Requests a minute").fill("30")
    page.get_by_role("button", name="Make the key").click()
    with shared_server.api(page.locator("#made-key").inner_text()) as caller:
        assert caller.get("/api/me").headers["RateLimit-Limit"] == "30"
        page.get_by_role("button", name="Change how often limited may call").click()
        page.get_by_role("dialog").get_by_label("Requests a minute").fill("20")
        page.get_by_role("dialog").get_by_role("button", name="Save").click()
        expect(page.get_by_role("button", name="Change how often limited may call")).to_have_text("20")
        assert caller.get("/api/me").headers["RateLimit-Limit"] == "20"


def test_the_page_of_the_plan_shows_what_is_used_of_it(
    make_server: ServerMaker, open_console: ConsoleMaker, folder: Path
) -> None:
    (folder / "plans.toml").write_text(
        'default = "team"\n[plans.team]\nlimits = { agents = 4, seats = 1 }\nfeatures = { sso = false }\n'
    )
    server = make_server(env={"CORRAL_PLANS": str(folder / "plans.toml")})
    with server.api() as api:
        agent = {"role": "r", "glyph": "🐎", "provider": "anthropic", "model": "m", "autostart": False}
        assert api.post("/api/agents", body={"name": "Ada", **agent}).status_code == 201
    page = open_console(server).goto("/app/plan")
    expect(page.get_by_role("heading", level=1)).to_have_text("team")
    agents = page.get_by_role("row", name=re.compile("^Agents"))
    expect(agents.get_by_role("progressbar")).to_have_attribute("value", "1")
    expect(agents).to_contain_text("4")
    expect(page.get_by_role("row", name=re.compile("^Seats"))).to_contain_text("Full")
    expect(page.get_by_role("row", name=re.compile("^Runners"))).to_contain_text("any number")
    expect(page.get_by_role("row", name=re.compile("^Sign-in with a provider"))).to_contain_text("Not included")


def test_what_is_wrong_with_a_key_stands_beside_the_field(console: Console) -> None:
    page = console.goto("/app/keys")
    page.get_by_label("Name", exact=True).fill("nothing allowed")
    page.get_by_label(re.compile("^Everything")).uncheck()
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#scopes-wrong")).to_have_text("Choose what it may do.")
    expect(page.get_by_label("Name", exact=True)).to_have_value("nothing allowed")


def test_a_form_from_elsewhere_is_refused(console: Console, shared_server: Server) -> None:
    cookies = {cookie["name"]: cookie["value"] for cookie in console.context.cookies()}
    form = {"name": "stolen", "scopes": "*", "csrf": "0" * 64}
    for headers in ({"Origin": "https://elsewhere.example"}, {"Origin": shared_server.url}):
        answer = httpx.post(f"{shared_server.url}/app/keys", data=form, cookies=cookies, headers=headers)
        assert answer.status_code == 403
    page = console.goto("/app/keys")
    expect(page.get_by_text("stolen")).to_have_count(0)
