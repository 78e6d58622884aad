"""Agents: made, seen in the chart, paused, asked."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import expect

from tests.browser.console import Console
from tests.browser.office import Office
from tests.support.http import Api


def named(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def test_an_agent_made_by_the_form_stands_in_the_chart_below_its_manager(console: Console, api: Api) -> None:
    boss, name = named("boss"), named("new")
    boss_id = Office(api, named("chart")).agent(boss)
    page = console.goto("/app/agents")
    page.keyboard.press("c")
    expect(console.heading()).to_have_text("New agent")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Role").fill("Reviews what others write")
    page.get_by_label("Reports to").select_option(label=boss)
    page.get_by_label("Directory").fill("not/absolute")
    page.get_by_role("button", name="Make the agent").click()
    expect(page.locator("#cwd-wrong")).to_contain_text("not an absolute path")
    page.get_by_label("Directory").fill("/srv/code")
    page.get_by_role("button", name="Make the agent").click()
    expect(console.heading()).to_contain_text(name)
    page.goto("/app/agents")
    page.get_by_role("link", name="Org chart").click()
    expect(page).to_have_url(re.compile(r"show=chart$"))
    chart = page.get_by_role("list", name="Org chart")
    leaf = chart.locator(f"#agent-{boss_id} > ul > li", has_text=name)
    expect(leaf).to_contain_text("Idle")
    expect(leaf).to_contain_text("Reviews what others write")


def test_what_concerns_runners_is_asked_only_of_agents_that_work_on_one(console: Console) -> None:
    page = console.goto("/app/agents/new")
    expect(page.get_by_label("Directory")).to_be_visible()
    page.get_by_label("Works through").select_option("openai")
    expect(page.get_by_label("Directory")).to_be_hidden()
    page.get_by_label("Name").fill("Platform")
    page.get_by_label("Role").fill("Works without a runner")
    page.get_by_role("button", name="Make the agent").click()
    expect(page.locator("#model-wrong")).to_contain_text("needs a model")


def test_a_circle_in_the_chart_is_refused_beside_the_field(console: Console, api: Api) -> None:
    office = Office(api, named("circle"))
    above, below = named("above"), named("below")
    above_id = office.agent(above)
    office.agent(below, manager=above_id)
    page = console.goto(f"/app/agents/{above_id}/edit")
    page.get_by_label("Reports to").select_option(label=below)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#manager-wrong")).to_contain_text("circle")


def test_an_agent_is_paused_resumed_and_archived(console: Console, api: Api) -> None:
    name = named("tired")
    agent = Office(api, named("pause")).agent(name)
    page = console.goto(f"/app/agents/{agent}")
    page.keyboard.press("p")
    expect(page.locator("#live .status").first).to_have_text("Paused")
    expect(page.locator("#live")).to_contain_text("waits until you resume it")
    page.keyboard.press("p")
    expect(page.locator("#live .status").first).to_have_text("Idle")
    page.get_by_role("button", name="Archive…").click()
    page.get_by_role("button", name="Archive it").click()
    expect(page.locator("#live .status").first).to_have_text("Archived")
    page.goto("/app/agents")
    expect(page.locator(f"#agent-{agent}")).to_have_count(0)


def test_a_question_to_an_agent_is_answered_in_its_thread(console: Console, api: Api) -> None:
    office = Office(api, named("talk")).open()
    agent = office.agent(named("talker"))
    page = console.goto(f"/app/agents/{agent}")
    page.keyboard.press("m")
    page.keyboard.type("How is the weather?")
    page.keyboard.press("Control+Enter")
    thread = page.locator(".thread")
    expect(thread.locator("li", has_text="How is the weather?")).to_contain_text("Being answered")
    expect(page.get_by_role("textbox", name=re.compile("^Ask "))).to_have_value("")
    work = office.begin()
    expect(page.locator("#live .status").first).to_have_text("Working")
    work.complete("It is **sunny**.")
    expect(thread.locator("li").last).to_contain_text("It is sunny.")
    expect(thread).not_to_contain_text("Being answered")
