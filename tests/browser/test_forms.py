"""What a person types or decides is never lost, and never taken twice."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.browser.logs import Scripted
from tests.conftest import ServerMaker
from tests.support.http import Api


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name=re.compile("Message Claude"))


def test_a_message_that_is_refused_stays_in_its_box_beside_a_page_that_goes_on(console: Console, api: Api) -> None:
    run = Scripted(api, "refused")
    page = console.goto(run.path)
    text = box(page)
    # No keyboard types a NUL; a paste may.
    text.evaluate("field => field.value = 'before\\u0000after'")
    text.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("NUL")
    expect(text).to_have_value("before\x00after")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    run.complete()
    expect(page.locator("#live .status").first).to_have_text("Done")


def test_a_form_out_of_date_says_so_and_its_text_survives_the_reload(console: Console, api: Api) -> None:
    run = Scripted(api, "outdated")
    page = console.goto(run.path)
    text = box(page)
    page.locator("[data-composer] input[name=csrf]").evaluate("field => field.value = '0'.repeat(64)")
    text.press_sequentially("Many words")
    text.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("reload the page")
    page.reload()
    expect(text).to_have_value("Many words")
    text.press("Control+Enter")
    expect(text).to_have_value("")
    page.reload()
    expect(text).to_have_value("")
    run.complete()


def test_answers_given_while_the_server_is_away_can_be_given_again(
    make_server: ServerMaker, open_console: ConsoleMaker
) -> None:
    server = make_server()
    with server.api() as api:
        run = Scripted(api, "answers")
        run.ask("make deploy")
        page = open_console(server).goto(run.path)
        expect(page.locator(".ask")).to_be_visible()
        server.kill()
        page.keyboard.press("a")
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        page.get_by_role("button", name="Cancel run…").click()
        page.get_by_role("button", name="Cancel the run").click()
        expect(page.get_by_role("dialog", name="Cancel this run?")).to_be_visible()
        page.get_by_role("button", name="Keep it running").click()
        server.restart()
        expect(page.get_by_text("trying again")).to_be_hidden()
        page.keyboard.press("a")
        expect(page.locator(".ask")).to_have_count(0)
        expect(page.get_by_role("alert")).to_have_count(0)


def test_no_key_answers_a_card_that_nobody_chose(console: Console, api: Api) -> None:
    run = Scripted(api, "several")
    run.ask("make first")
    run.ask("make second")
    page = console.goto(run.path)
    cards = page.locator(".ask")
    expect(cards).to_have_count(2)
    page.keyboard.press("a")
    expect(cards.first).to_be_focused()
    expect(cards).to_have_count(2)
    page.keyboard.press("a")
    page.keyboard.press("a")
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("make second")
    run.complete()


def test_a_list_says_what_a_waiting_run_asks_and_a_plan_reads_as_one(console: Console, api: Api) -> None:
    run = Scripted(api, "asking")
    run.ask("make release")
    row = console.goto("/app/runs").locator(f"#run-{run.id}")
    expect(row).to_contain_text("asks: Bash make release")
    run.complete()
    run = Scripted(api, "planning")
    run.plan("# The plan\n\n1. Read **all** of it\n2. Begin")
    page = console.page
    expect(page.locator(f"#run-{run.id}")).to_contain_text("has a plan to approve")
    page.goto(run.path)
    plan = page.locator(".ask .prose")
    expect(plan.get_by_role("heading")).to_have_text("The plan")
    expect(plan.get_by_role("listitem")).to_have_text(["Read all of it", "Begin"])
    run.complete()


def test_an_ended_run_is_launched_again_from_a_form_that_holds_all_of_it(console: Console, api: Api) -> None:
    run = Scripted(api, "again", prompt="First line\nSecond line")
    run.complete()
    page = console.goto(run.path)
    page.keyboard.press("r")
    expect(console.heading()).to_have_text("New run")
    expect(page.get_by_label("What should the agent do?")).to_have_value("First line\nSecond line")
    expect(page.get_by_label("Directory", exact=True)).to_have_value(f"{run.runner.root}/work")


def test_the_first_field_that_is_wrong_has_the_focus(console: Console, api: Api) -> None:
    Scripted(api, "wrong").complete()
    page = console.goto("/app/runs/new")
    page.get_by_label("What should the agent do?").fill("Anything")
    page.get_by_label("Directory", exact=True).fill("/etc")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_label("Directory", exact=True)).to_be_focused()
