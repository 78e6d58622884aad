"""Tasks: made, moved on the board, watched and cancelled; and the rules for handing them on."""

from __future__ import annotations

import contextlib
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import PHONE, Console
from tests.browser.office import Office
from tests.browser.test_agents import named
from tests.support.http import Api
from tests.support.server import Server
from tests.support.waiting import eventually


@pytest.fixture
def office(api: Api) -> Office:
    """A machine that has connected."""
    return Office(api, named("office")).open()


def column(page: Page, state: str) -> Locator:
    return page.locator(f"[data-column={state}]")


def moved(card: Locator, to: Locator) -> None:
    """Drag a card until it is there: the board may show news in the middle of it, which lets go of the card."""

    def is_there() -> bool:
        card.drag_to(to)
        with contextlib.suppress(AssertionError):
            expect(to.locator(f"#{card.get_attribute('id')}")).to_be_visible(timeout=5000)
            return True
        return False

    eventually(is_there, what="the card in its column")


def test_a_task_is_made_by_the_form_and_started_by_the_keyboard(console: Console, office: Office) -> None:
    agent, name = office.agent(worker := named("worker")), named("Write the docs")
    page = console.goto(f"/app/board?agent={agent}")
    page.keyboard.press("c")
    page.get_by_label("Title", exact=True).fill(name)
    page.get_by_label("Agent", exact=True).select_option(label=worker)
    page.get_by_label("Priority").select_option("high")
    page.get_by_role("button", name="Make the task").click()
    expect(console.heading()).to_have_text(name)
    expect(page.locator("#live")).to_contain_text("Not started")
    page.goto(f"/app/board?agent={agent}")
    card = page.locator(".task", has_text=name)
    expect(column(page, "pending").locator(".task")).to_contain_text("high")
    page.keyboard.press("j")
    expect(card).to_be_focused()
    page.keyboard.press("Shift+ArrowRight")
    expect(card).to_contain_text("about to be claimed")
    expect(card).to_be_focused()
    work = office.begin()
    expect(column(page, "running")).to_contain_text(name)
    work.complete("Written.")
    expect(column(page, "done")).to_contain_text(name)
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_contain_text("Written.")


def test_a_card_is_moved_by_hand_or_says_why_it_stays_until_the_next_move(console: Console, office: Office) -> None:
    agent = office.agent(named("mover"))
    task = office.task("Move me", agent)
    page = console.goto(f"/app/board?agent={agent}")
    card = page.locator(f"#task-{task}")
    moved(card, column(page, "done"))
    assert office.status(task) == "done"
    card.drag_to(column(page, "waiting"))
    expect(page.get_by_role("alert")).to_contain_text("a task waits by itself")
    office.task("Another", agent)
    expect(column(page, "pending")).to_contain_text("Another")  # the page has been read anew since
    expect(page.get_by_role("alert")).to_contain_text("a task waits by itself")
    moved(card, column(page, "pending"))
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page).to_have_url(re.compile(rf"agent={agent}$"))


def test_a_live_task_is_not_set_to_done_and_the_board_says_so(console: Console, office: Office) -> None:
    agent = office.agent(named("busy"), autostart=True)
    task, work = office.started("Busy with it", agent)
    page = console.goto(f"/app/board?agent={agent}")
    page.locator(f"#task-{task}").focus()
    page.keyboard.press("m")
    page.get_by_role("dialog").get_by_role("button", name="Done").click()
    expect(page.get_by_role("alert")).to_contain_text("its run is not over")
    expect(column(page, "running").locator(f"#task-{task}")).to_be_visible()
    work.complete("ok")


def test_on_a_phone_cards_move_by_their_menu_and_a_refusal_comes_into_sight(
    open_console: ConsoleMaker, shared_server: Server, office: Office
) -> None:
    agent = office.agent(named("phone"))
    for n in range(4):
        office.task(f"Above it {n}", agent)
    task = office.task("Start me with a thumb", agent)
    page = open_console(shared_server, width=PHONE).goto(f"/app/board?agent={agent}")
    page.get_by_role("button", name="Move Start me").tap()
    page.get_by_role("dialog").get_by_role("button", name="Start").tap()
    work = office.begin()
    expect(column(page, "running").locator(f"#task-{task}")).to_be_visible()
    page.set_viewport_size({"width": PHONE, "height": 400})
    page.get_by_role("button", name="Move Start me").tap()
    page.get_by_role("dialog").get_by_role("button", name="Done").tap()
    expect(page.get_by_role("alert")).to_be_in_viewport()
    work.complete("ok")


def test_the_filters_stand_in_the_address(console: Console, office: Office) -> None:
    name = named("filtered")
    agent = office.agent(name)
    high, low = office.task("The high one", agent, priority="high"), office.task("The low one", agent, priority="low")
    page = console.goto("/app/board")
    page.get_by_label("Agent", exact=True).select_option(label=name)
    expect(page).to_have_url(re.compile(rf"/app/board\?agent={agent}$"))
    page.get_by_label("Priority").select_option("high")
    expect(page).to_have_url(re.compile(rf"agent={agent}&priority=high$"))
    expect(page.locator(f"#task-{high}")).to_be_visible()
    expect(page.locator(f"#task-{low}")).to_have_count(0)


def test_a_tree_is_cancelled_after_a_confirmation(console: Console, office: Office) -> None:
    agent = office.agent(named("root"))
    root = office.task("The whole", agent)
    child = office.task("A part", agent, parent=root)
    grandchild = office.task("A part of the part", agent, parent=child)
    page = console.goto(f"/app/tasks/{root}")
    tree = page.get_by_role("list", name="Its tree")
    expect(tree.locator(".leaf")).to_have_count(3)
    page.get_by_role("button", name="Cancel tree…").click()
    page.get_by_role("button", name="Keep it").locator("visible=true").click()
    assert office.status(child) == "pending"
    page.get_by_role("button", name="Cancel tree…").click()
    page.get_by_role("button", name="Cancel the tree").click()
    expect(tree.locator(".status.failed")).to_have_count(3)
    assert {office.status(one) for one in (root, child, grandchild)} == {"error"}
    page.goto("/app/inbox")  # nothing that somebody has to look after
    expect(console.heading()).to_have_text("Inbox")
    expect(page.locator(f"#failure-{root}")).to_have_count(0)


def test_the_page_of_a_task_shows_the_log_of_its_latest_run(console: Console, office: Office) -> None:
    agent = office.agent(name := named("logger"), autostart=True)
    task, work = office.started("Say something", agent)
    work.add(("agent.message", {"text": "The first try"}))
    page = console.goto(f"/app/tasks/{task}")
    log = page.get_by_role("region", name="Log")
    expect(log).to_contain_text(f"{name}The first try")
    work.fail("It fell over", "Pick it up")
    expect(page.get_by_role("region", name="What went wrong")).to_contain_text("Pick it up")
    page.keyboard.press("s")
    again = office.begin()
    again.add(("agent.message", {"text": "The second try"}))
    expect(log).to_contain_text("The second try")
    expect(log).not_to_contain_text("The first try")
    expect(page.locator("#runs")).to_contain_text("Failed")
    again.complete("Good")


def test_an_epic_shows_how_far_its_tasks_are(console: Console, office: Office) -> None:
    agent, title = office.agent(named("epic")), named("Epic")
    page = console.goto("/app/epics")
    page.get_by_label("Title").fill(title)
    page.get_by_role("button", name="Make the epic").click()
    row = page.get_by_role("row", name=re.compile(title))
    expect(row).to_contain_text("no tasks")
    epic = (row.get_attribute("id") or "").removeprefix("epic-")
    office.task("Open", agent, epic_id=epic)
    done = office.task("Done", agent, epic_id=epic)
    office.api.patch("/api/tasks/:id", done, body={"status": "done"})
    expect(row).to_contain_text("1 of 2")
    row.get_by_role("link", name=title, exact=True).click()
    expect(page.locator(".task")).to_have_count(2)


def test_the_rules_for_handing_tasks_on_are_kept(console: Console) -> None:
    page = console.goto("/app/settings")
    page.get_by_label("Levels").fill("none")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#max_depth-wrong")).to_contain_text("A number from 1")
    page.get_by_label("Levels").fill("5")
    page.get_by_label("Their team").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
    page.goto("/app/settings")
    expect(page.get_by_label("Levels")).to_have_value("5")
    page.get_by_label("Levels").fill("8")
    page.get_by_label("Anyone").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
