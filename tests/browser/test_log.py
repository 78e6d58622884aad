"""The log: windowed, live, and never cleared."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import PHONE, Console
from tests.browser.logs import Scripted, chatter
from tests.conftest import ServerMaker
from tests.support.http import Api
from tests.support.server import Server
from tests.support.waiting import PATIENCE, eventually

MANY = 100_000
#: A window holds a few pages of a hundred events.
ROWS = 450


@pytest.fixture(scope="module")
def long_run(shared_server: Server) -> Iterator[Scripted]:
    """An ended run of 100,000 events."""
    with shared_server.api() as api:
        run = Scripted(api, "long-log", prompt="Write a very long log")
        run.add(*chatter(MANY - 4))
        run.complete()
        yield run


def rows(page: Page) -> int:
    return page.locator(".ev").count()


def test_a_run_of_a_hundred_thousand_events_opens_at_once_with_few_rows(console: Console, long_run: Scripted) -> None:
    began = time.monotonic()
    page = console.goto(long_run.path)
    expect(page.locator("#e1")).to_be_visible()
    opened = time.monotonic() - began
    assert rows(page) < ROWS
    assert opened < 5 * PATIENCE, f"it took {opened:.1f} s"
    expect(page.locator("[data-total]")).to_have_text("100\u2009000")

    page.get_by_role("button", name="Jump to latest").click()
    expect(page.locator(f"#e{MANY}")).to_be_in_viewport()
    assert rows(page) < ROWS

    page.evaluate("() => scrollTo(0, document.documentElement.scrollHeight / 2)")
    expect(page.locator(".ev").nth(20)).to_be_visible()
    middle = [int(name[1:]) for name in page.locator(".ev").evaluate_all("rows => rows.map(row => row.id)")]
    assert all(MANY * 0.4 < sequence < MANY * 0.6 for sequence in middle)
    assert len(middle) < ROWS


def test_a_link_leads_to_its_line(console: Console, long_run: Scripted) -> None:
    page = console.goto(f"{long_run.path}#e54322")
    expect(page.locator("#e54322")).to_be_in_viewport()
    expect(page.locator(".aimed")).to_have_attribute("id", "e54322")


def test_scrolling_up_moves_no_line_under_the_reader(console: Console, long_run: Scripted) -> None:
    page = console.goto(f"{long_run.path}#e70000")
    expect(page.locator(".aimed")).to_be_in_viewport()
    page.mouse.move(700, 500)
    seen = []
    for _ in range(12):
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(50)
        seen.append(page.evaluate(_FIRST))
    assert seen == sorted(seen, reverse=True)
    assert 69_700 < seen[-1] < seen[0] < 70_000


_FIRST = """() => Number([...document.querySelectorAll('.ev')]
    .find(row => row.getBoundingClientRect().bottom > 60).id.slice(1))"""


def test_search_finds_a_line_far_away_and_goes_there(console: Console, long_run: Scripted) -> None:
    page = console.goto(long_run.path)
    expect(page.locator("#e1")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("step 77775 of")
    page.keyboard.press("Enter")
    expect(page.locator("[data-hits]")).to_have_text("1 of 1")
    expect(page.locator(".aimed")).to_contain_text("Step 77775 of the work")
    expect(page.locator(".aimed")).to_be_in_viewport()


def test_tool_calls_are_folded_with_their_results_and_failed_ones_are_open(console: Console, api: Api) -> None:
    run = Scripted(api, "folded")
    run.add(("agent.thinking", {"text": "Nobody needs to read this."}))
    run.tool("Bash", {"command": "pwd"}, "a file")
    run.tool("Bash", {"command": "false"}, "it went wrong", failed=True)
    change = {"file_path": "/srv/folded/work/a.py", "old_string": "one\ntwo", "new_string": "one\nthree\nfour"}
    run.tool("Edit", change, "ok")
    run.complete()
    page = console.goto(run.path)
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_text("it went wrong")).to_be_visible()
    expect(log.get_by_text("a file")).to_have_count(0)
    expect(log.get_by_text("Nobody needs to read this.")).to_have_count(0)
    log.locator("summary", has_text="pwd").click()
    expect(log.get_by_text("a file")).to_be_visible()
    edit = log.locator("summary", has_text="a.py")
    expect(edit).to_contain_text("+2")
    expect(edit).to_contain_text("−1")


def test_tokens_show_live_and_give_way_to_the_stored_message(console: Console, api: Api) -> None:
    run = Scripted(api, "tokens")
    page = console.goto(run.path)
    expect(page.locator("[data-stream]")).to_have_text("live")

    # A piece that comes while the page still catches up is lost, as live pieces may be: send it until it is seen.
    def is_seen() -> bool:
        run.stream("b1", 0, "Half a sen")
        return page.locator(".streaming").count() > 0

    eventually(is_seen)
    expect(page.locator(".streaming")).to_contain_text("Half a sen")
    run.stream("b1", 10, "tence")
    expect(page.locator(".streaming")).to_contain_text("Half a sentence")
    run.say("Half a sentence, and the rest.")
    expect(page.locator(".streaming")).to_have_count(0)
    expect(page.locator(".log")).to_contain_text("Half a sentence, and the rest.")
    run.complete()


def test_a_log_follows_until_somebody_scrolls_up(console: Console, api: Api) -> None:
    run = Scripted(api, "following")
    run.say(*(f"Line {n}" for n in range(80)))
    page = console.goto(run.path)
    expect(page.locator(".ev", has_text="Line 79")).to_be_in_viewport()
    run.say("And one more")
    expect(page.get_by_text("And one more")).to_be_in_viewport()
    page.mouse.move(700, 400)
    page.mouse.wheel(0, -1200)
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
    run.say("Unseen so far")
    expect(page.get_by_text("Unseen so far")).to_be_attached()
    expect(page.get_by_text("Unseen so far")).not_to_be_in_viewport()
    page.get_by_role("button", name="Jump to latest").click()
    expect(page.get_by_text("Unseen so far")).to_be_in_viewport()
    run.complete()


def test_a_server_that_restarts_clears_no_line_and_the_log_catches_up(
    make_server: ServerMaker, open_console: ConsoleMaker
) -> None:
    server = make_server()
    console = open_console(server)
    with server.api() as api:
        run = Scripted(api, "restarts")
        run.say("Before the restart")
        page = console.goto(run.path)
        expect(page.get_by_text("Before the restart")).to_be_visible()
        server.kill()
        expect(page.locator("[data-stream]")).to_have_text("reconnecting…")
        expect(page.get_by_text("Before the restart")).to_be_visible()
        expect(page.get_by_text("The server does not answer")).to_be_visible()
        server.restart()
        run.say("After the restart")
        expect(page.get_by_text("After the restart")).to_be_visible()
        expect(page.locator("[data-stream]")).to_have_text("live")
        expect(page.get_by_text("Before the restart")).to_have_count(1)
        expect(page.get_by_text("The server does not answer")).to_be_hidden()


def test_an_approval_answered_elsewhere_leaves_the_page_and_a_late_answer_says_who_was_faster(
    console: Console, api: Api
) -> None:
    run = Scripted(api, "elsewhere")
    run.ask("rm -rf build")
    page = console.goto(run.path)
    card = page.locator(".ask", has_text="rm -rf build")
    expect(card).to_be_visible()
    csrf = card.locator("input[name=csrf]").get_attribute("value") or ""
    asked = next(one["id"] for one in api.get("/api/approvals").json() if one["run_id"] == run.id)
    assert api.post("/api/approvals/:id", asked, body={"decision": "allow"}).status_code == 200
    expect(card).to_have_count(0)
    for back in (run.path, "/app/approvals"):
        form: dict[str, str | float | bool] = {"decision": "deny", "csrf": csrf, "back": back}
        late = page.request.post(f"/app/approvals/{asked}", form=form, headers={"Origin": console.server.url})
        assert late.status == 409
        assert "came too late" in late.text()
        assert "allowed by an API key" in late.text()


def test_on_a_phone_a_card_comes_before_the_log(open_console: ConsoleMaker, shared_server: Server, api: Api) -> None:
    run = Scripted(api, "phone")
    run.say(*(f"Line {n}" for n in range(60)))
    run.ask("make deploy")
    console = open_console(shared_server, width=PHONE)
    page = console.goto(run.path)
    card = page.locator(".ask", has_text="make deploy")
    expect(card).to_be_in_viewport()
    box, log = card.bounding_box(), page.locator(".log").bounding_box()
    assert box is not None
    assert log is not None
    assert box["y"] + box["height"] <= log["y"]
    card.get_by_role("button", name="Allow once").click()
    expect(card).to_have_count(0)
