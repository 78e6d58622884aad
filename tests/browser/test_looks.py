"""What every page owes everybody: room on small screens, contrast, names for controls, and keys that work."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import DESK, PHONE, Console
from tests.browser.logs import Scripted
from tests.browser.office import Office
from tests.support.http import Api
from tests.support.server import Server

PAGES = (
    "/app/runs", "/app/runs/new", "/app/inbox", "/app/runners", "/app/runners/new", "/app/keys", "/app/settings",
    "/app/agents", "/app/agents?show=chart", "/app/agents/new", "/app/board", "/app/tasks/new", "/app/epics",
    "/app/bus", "/app/bus?dead=true", "/app/messages/new", "/app/secrets", "/app/secrets/new", "/app/mcps",
    "/app/mcps/new", "/app/usage", "/app/usage?period=day&by=team", "/app/usage?team=nobody", "/app/usage?tz=Mars",
    "/app/prices", "/app/prices/set", "/app/budgets", "/app/budgets/new", "/app/people", "/app/profile",
    "/app/sign-ins", "/app/orgs/new", "/app/plan", "/app/audit", "/app/audit?kind=agent&last=2020-01-31",
    "/app/system",
)  # fmt: skip
_LONG = "averyveryverylongwordwithoutanybreak"


@pytest.fixture
def run(api: Api) -> Scripted:
    """A run with something of everything in its log, waiting for an answer."""
    name = f"looks-{uuid.uuid4().hex[:12]}"
    made = Scripted(api, name, prompt="Look at " + _LONG * 5)
    made.say("A `code` word, a [link](https://example.org) and\n\n```\n" + "x" * 400 + "\n```")
    made.tool("Bash", {"command": "echo " + "y" * 300}, "z" * 500, failed=True)
    made.ask("rm -rf " + "/very/long/path" * 30)
    return made


@pytest.fixture
def team(api: Api) -> list[str]:
    """Agents and tasks in every state, with long names; returns their own pages."""
    office = Office(api, f"looks-{uuid.uuid4().hex[:12]}").open()
    boss = office.agent(_LONG * 3, autostart=True, team=_LONG, instructions=f"# Rules\n\n- {_LONG * 4}\n- `code`")
    lost = office.agent("Lost", manager=boss, provider_config={"labels": [f"nowhere-{uuid.uuid4().hex}"]})
    epic = api.post("/api/epics", body={"title": _LONG * 4}).json()["id"]
    whole, work = office.started(_LONG * 5, boss, epic_id=epic, priority="high", retries=2)
    part = office.task("A part of it", lost, parent=whole, priority="low", blocked_by=[whole])
    failed = office.task("Given up", boss, parent=part)
    api.patch("/api/tasks/:id", failed, body={"status": "error"})
    work.ask(_LONG * 3 + "?", _LONG * 4)
    work.spend("1", _LONG * 2, input_tokens=1_000, cache_read_tokens=9_000, cost_micros=1_000_000)
    work.spend("2", "nobody-knows-" + _LONG, input_tokens=1_000)
    for to, text in ((boss, f"How far are you? {_LONG * 4}"), (lost, "Are you there?")):
        assert api.post("/api/messages", body={"to": to, "text": text, "type": "question"}).status_code == 200
    supplies = supplied(api, boss)
    agents = [f"/app/agents/{boss}", f"/app/agents/{boss}/edit", f"/app/agents/{lost}"]
    tasks = [f"/app/tasks/{whole}", f"/app/tasks/{whole}/edit", f"/app/tasks/{failed}", f"/app/bus/tasks/{failed}"]
    return [*agents, *tasks, *supplies, f"/app/epics/{epic}"]


def supplied(api: Api, agent: str) -> list[str]:
    """Give an agent a secret, a server that lacks one, and a budget, with long names; returns their own pages."""
    key = _LONG.upper() * 4
    assert api.post("/api/secrets", body={"key": key, "value": "short", "agentId": agent}).status_code == 200
    name = f"looks-{uuid.uuid4().hex}"
    rules = {"deny": [_LONG * 4], "env": {_LONG * 3: f"${{{key}}}", "A": f"${{{key}_MISSING}}" * 4}}
    body = {"name": name, "transport": "stdio", "command": f"/{_LONG * 4}", "args": [_LONG] * 4, **rules}
    # Of a team that nobody is in: no run is to wait for it.
    answer = api.post("/api/mcps", body={**body, "enabled_for": "teams", "teams": [_LONG * 4]})
    assert answer.status_code == 201, answer.text
    server = answer.json()["id"]
    assert api.post("/api/mcps/:id/test", server, body={"agent": agent}).json()["ok"] is False
    of_agent = {"scope": "agent", "target": agent, "name": _LONG[:33] * 3, "limit_usd": 1e9, "period": "week"}
    budget = api.post("/api/budgets", body={**of_agent, "hard": False}).json()["id"]
    secret = f"/app/secrets/one?key={key}&agent={agent}"
    own = [f"/app/mcps/{server}", f"/app/budgets/{budget}"]
    return [secret, secret.replace("one", "new"), *own, *(f"{path}/edit" for path in own)]


def test_every_page_fits_its_window_can_be_read_in_light_and_dark_names_its_controls_and_has_a_strict_policy(
    console: Console, run: Scripted, team: list[str]
) -> None:
    for path in (*PAGES, run.path, *team):
        page = console.page
        answer = page.goto(path)
        assert answer is not None
        assert_strict(path, answer.headers, answer.text())
        expect(console.heading()).to_have_count(1)
        if path == run.path:
            expect(page.locator(".ask")).to_be_visible()
            expect(page.locator(".ev").first).to_be_visible()
        if page.locator("[data-plot]").count():
            expect(page.locator("#top-runs a.row").first).to_be_visible()
        assert page.get_attribute("html", "lang") == "en"
        for width in (DESK, PHONE):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(_NAMELESS) == [], f"{path} at {width}"
            assert page.evaluate(_IDS_TWICE) == [], f"{path} at {width}"
            assert_readable(console, f"{path} at {width}")
        page.set_viewport_size({"width": DESK, "height": 900})
    away = console.page.request.get("/app/sign-in")
    assert_strict("/app/sign-in", away.headers, away.text())
    run.complete()


def test_what_scripts_draw_fits_where_the_window_was_small_from_the_beginning(
    open_console: ConsoleMaker, shared_server: Server, run: Scripted, team: list[str]
) -> None:
    console = open_console(shared_server, width=PHONE)
    for path in (run.path, "/app/usage", "/app/agents?show=chart", "/app/board", team[0]):
        page = console.goto(path)
        expect(console.heading()).to_be_visible()
        if path == run.path:
            expect(page.locator(".ask")).to_be_visible()
            expect(page.locator(".ev").first).to_be_visible()
        if page.locator("[data-plot]").count():
            expect(page.locator("#top-runs a.row").first).to_be_visible()
        assert_readable(console, f"{path} on a phone")
    run.complete()


def assert_readable(console: Console, where: str) -> None:
    for theme in console.themes():
        assert console.overflow() <= 0, f"{where} is {console.overflow()} px too wide"
        assert console.page.evaluate(_TOO_FAINT) == [], f"{where} in {theme}"


def assert_strict(path: str, headers: dict[str, str], text: str) -> None:
    assert "default-src 'none'" in headers["content-security-policy"], path
    assert "unsafe" not in headers["content-security-policy"], path
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)", text), path


def test_keys_lead_through_the_console(console: Console, run: Scripted) -> None:
    page = console.goto("/app/keys")
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page).to_have_url(re.compile(r"/app/runs$"))
    page.keyboard.press("j")
    first = page.locator("a.row").first
    expect(first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(first).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()
    page.keyboard.press("c")
    expect(console.heading()).to_have_text("New run")
    page.get_by_label("What should the agent do?").press("c")
    expect(page.get_by_label("What should the agent do?")).to_have_value("c")
    run.complete()


def test_the_chosen_theme_stays_and_comes_with_the_page(console: Console) -> None:
    page = console.goto("/app/runs")
    page.get_by_role("button", name="Owner").click()
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(_BACKGROUND)
    page.goto("/app/keys")
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate(_BACKGROUND) == dark
    page.get_by_role("button", name="Owner").click()
    page.get_by_role("button", name="Auto").click()
    assert page.evaluate(_BACKGROUND) != dark
    page.reload()
    assert page.get_attribute("html", "data-theme") is None


def test_the_filter_stands_in_the_address_and_the_list_says_why_a_run_is_stuck(console: Console, api: Api) -> None:
    where = {"prompt": "Nobody takes this", "cwd": "/srv/nobody/work"}
    machine = Scripted(api, "nobody", prompt="Only here to allow the directory")
    machine.complete()
    stuck = api.post("/api/v1/runs", body={**where, "runnerId": str(machine.runner.id)}).json()["id"]
    page = console.goto("/app/runs")
    page.get_by_role("link", name=re.compile("^Queued")).click()
    expect(page).to_have_url(re.compile(r"\?show=queued$"))
    row = page.locator(f"#run-{stuck}")
    expect(row).to_contain_text("Nobody takes this —")
    api.post("/api/runs/:id/cancel", stuck)
    expect(row).to_have_count(0)
    expect(page).to_have_url(re.compile(r"\?show=queued$"))


def test_a_page_that_is_not_there_says_so(console: Console) -> None:
    page: Page = console.goto("/app/runs/01234567-89ab-7cde-8f01-23456789abcd")
    expect(console.heading()).to_have_text("There is nothing here")
    page.get_by_role("link", name="Back to runs").click()
    expect(console.heading()).to_have_text("Runs")


_BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"

#: Visible texts whose contrast with what lies behind them is below 4.5:1 (WCAG AA).
_TOO_FAINT = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const pixel = canvas.getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const light = (color) => {
    if (!known.has(color)) {
      pixel.clearRect(0, 0, 1, 1);
      pixel.fillStyle = color;
      pixel.fillRect(0, 0, 1, 1);
      known.set(color, [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3)
        .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0));
    }
    return known.get(color);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$|transparent/.test(color)) return color;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest(":disabled, .visually-hidden, .skip")) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = `${element.className || element.nodeName}: ${element.textContent.trim().slice(0, 30)}`;
    if (ratio < 4.5) faint.push(`${name} ${ratio.toFixed(2)}`);
  }
  return faint;
}"""

_NAMELESS = """() => [...document.querySelectorAll("button, a[href], input:not([type=hidden]), select, textarea")]
  .filter((element) => element.checkVisibility())
  .filter((element) => !(element.ariaLabel || element.textContent.trim() || element.labels?.length))
  .map((element) => element.outerHTML.slice(0, 100))"""

_IDS_TWICE = """() => {
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  return ids.filter((id, at) => ids.indexOf(id) !== at);
}"""
