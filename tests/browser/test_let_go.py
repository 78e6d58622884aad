"""A log that was let go says so, and shows what is left of it."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.logs import Scripted, chatter
from tests.conftest import ServerMaker
from tests.support.waiting import eventually


def test_the_page_of_a_run_whose_log_was_let_go_says_so_and_shows_its_end(
    make_server: ServerMaker, open_console: ConsoleMaker
) -> None:
    server = make_server()
    with server.api() as api:
        run = Scripted(api, "let-go")
        run.add(*chatter(300))
        run.say("All of it is done.")
        run.complete()
    server.stop()
    server.process.env["CORRAL_EVENTS_DAYS"] = "0.000001"
    server.restart()
    with server.api() as api:
        listed = eventually(lambda: let_go(api.get("/api/runs/:id/events", run.id).json()), within=60)
    assert [event["event_type"] for event in listed] == [
        "log.let_go", "run.started", "session.init", "agent.message", "run.completed",
    ]  # fmt: skip
    console = open_console(server)
    page = console.goto(run.path)
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_text("was let go: it had been kept for its time")).to_be_visible()
    expect(log.get_by_text("All of it is done.")).to_be_visible()
    expect(log.get_by_text("completed", exact=True)).to_be_visible()
    expect(log.locator(".skeleton")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("all of it")
    page.keyboard.press("Enter")
    expect(page.locator("[data-hits]")).to_have_text("1 of 1")


def let_go(events: list[dict[str, object]]) -> list[dict[str, object]]:
    """The events, once no more will go."""
    return events if len(events) == 5 else []
