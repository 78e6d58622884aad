"""What somebody is at stays theirs, while the page is read anew, somebody else acts, or the network is slow."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.browser.logs import Scripted
from tests.browser.office import Office
from tests.browser.test_agents import named
from tests.browser.test_forms import box
from tests.support.http import Api
from tests.support.server import Server

_TICK = "() => document.body.dispatchEvent(new CustomEvent('tick'))"
_SELECTED = "() => String(getSelection())"


def test_what_is_written_while_a_message_is_on_its_way_stays_also_on_another_page(console: Console, api: Api) -> None:
    run = Scripted(api, "hasty")
    page = console.goto(run.path)
    text = box(page)
    held: list[Route] = []
    page.route("**/say", lambda route: held.append(route))  # noqa: PLW0108 # Playwright takes no bound method of C
    text.fill("First")
    with page.expect_request("**/say"):
        text.press("Control+Enter")
    text.press_sequentially(" and second")
    held[0].continue_()
    expect(text).to_have_value("and second")
    page.goto("/app/runs")
    page.goto(run.path)
    expect(text).to_have_value("and second")
    (sent,) = run.runner.poll(free_slots=0)["commands"]
    assert sent["payload"]["text"] == "First"
    run.complete()


def test_a_prompt_survives_a_session_that_has_ended(open_console: ConsoleMaker, shared_server: Server) -> None:
    console = open_console(shared_server)
    page = console.goto("/app/runs/new")
    prompt = page.get_by_label("What should the agent do?")
    prompt.press_sequentially("Many words")
    page.get_by_label("Directory", exact=True).fill("/srv")
    console.context.clear_cookies()
    page.get_by_role("button", name="Launch").click()
    expect(console.heading()).to_have_text("Sign in to Corral")
    console.sign_in()
    page.goto("/app/runs/new")
    expect(prompt).to_have_value("Many words")


def test_a_page_whose_answers_take_longer_than_a_tick_is_read_anew_all_the_same(console: Console, api: Api) -> None:
    page = console.goto("/app/runs")
    held: list[Route] = []
    page.route("**/app/runs", lambda route: held.append(route))  # noqa: PLW0108 # as above
    run = Scripted(api, "far-away")
    with page.expect_request("**/app/runs"):
        page.evaluate(_TICK)
    for _ in range(3):
        page.evaluate(_TICK)
    held[0].continue_()
    expect(page.locator(f"#run-{run.id}")).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")
    run.complete()


def test_a_run_that_is_deleted_elsewhere_says_so_and_leaves_what_was_typed(console: Console, api: Api) -> None:
    run = Scripted(api, "gone")
    run.complete()
    page = console.goto(run.path)
    text = page.get_by_role("textbox", name=re.compile("Follow up"))
    text.fill("Half a mess")
    assert api.delete("/api/runs/:id", run.id).status_code == 204
    expect(page.get_by_role("alert")).to_contain_text("This page shows what was here last")
    page.get_by_role("button", name="Dismiss").click()
    page.evaluate(_TICK)
    expect(text).to_have_value("Half a mess")


def test_a_task_keeps_what_somebody_selects_and_says_on_its_page_that_an_answer_came_too_late(
    console: Console, api: Api
) -> None:
    office = Office(api, named("slow")).open()
    task, work = office.started("Copy me", office.agent(named("slow"), autostart=True))
    page = console.goto(f"/app/tasks/{task}")
    page.get_by_text("What is to be done").click()
    text = page.locator("details").get_by_text("Copy me, please")
    text.evaluate("text => getSelection().selectAllChildren(text)")
    work.ask("Which?", "This", "That")
    card = page.locator(".ask")
    expect(card).to_be_visible()
    page.evaluate(_TICK)
    expect(page.locator("#live .status").first).to_have_text("Waiting")
    assert page.evaluate(_SELECTED) == "Copy me, please"

    page.route(f"**/app/tasks/{task}", lambda route: route.fulfill(status=204))  # the page stays as it is
    asked = (card.get_attribute("id") or "").removeprefix("ask-")
    other = {"decision": "allow", "answers": {"Which?": "This"}}
    assert api.post("/api/approvals/:id", asked, body=other).status_code == 200
    card.get_by_label("That").check()
    card.get_by_role("button", name="Answer a").click()
    expect(page.get_by_role("alert")).to_contain_text("came too late")
    expect(console.heading()).to_have_text("Copy me")
    expect(card).to_have_count(0)
    page.unroute_all()
    work.complete("This it is")
    expect(page.locator("#live .status").first).to_have_text("Done")
    assert api.patch("/api/tasks/:id", task, body={"input": "Another text"}).status_code == 200
    expect(page.get_by_text("Another text")).to_be_visible()


def test_a_date_is_typed_to_its_end_and_a_step_back_takes_a_filter_back(console: Console) -> None:
    page = console.goto("/app/audit")
    page.get_by_label("From").press_sequentially("11022026")
    expect(page).to_have_url(re.compile(r"first=2026-11-02$"))
    page.go_back()
    expect(page).to_have_url(re.compile(r"/audit$"))
    expect(page.get_by_label("From")).to_have_value("")
