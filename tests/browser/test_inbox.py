"""What waits for a person, what failed, and what is said on the bus."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.console import Console
from tests.browser.office import Office
from tests.browser.test_agents import named
from tests.support.http import Api


def test_an_agents_question_is_answered_in_the_inbox(console: Console, api: Api) -> None:
    office = Office(api, named("asks")).open()
    agent = office.agent(name := named("asker"), autostart=True)
    task, work = office.started("Find out the colour", agent)
    page = console.goto("/app/board?agent=" + agent)
    work.ask("Which colour?", "Blue", "Green")
    expect(page.locator("[data-column=waiting]")).to_contain_text("asks: Which colour?")
    page.keyboard.press("g")
    page.keyboard.press("i")
    card = page.locator(".ask", has_text=name)
    expect(card).to_contain_text("asks a question")
    card.get_by_label("Green").check()
    card.get_by_role("button", name="Answer a").click()
    expect(card).to_have_count(0)
    expect(page.get_by_role("row", name=re.compile("Which colour"))).to_contain_text("Answered")
    (command,) = office.runner.poll(free_slots=0)["commands"]
    assert command["payload"]["answers"] == {"Which colour?": "Green"}
    assert office.status(task) == "running"
    work.complete("Green it is")


def test_what_failed_stands_in_the_inbox_with_what_to_do_and_starts_again_from_there(
    console: Console, api: Api
) -> None:
    office = Office(api, named("fails")).open()
    agent = office.agent(named("failing"), autostart=True)
    task, work = office.started("Fall over", agent)
    work.fail("The disk is full", "Free some space")
    page = console.goto("/app/inbox")
    failure = page.locator(f"#failure-{task}")
    expect(failure).to_contain_text("The disk is full")
    expect(failure).to_contain_text("Free some space")
    failure.get_by_role("button", name="Start again").click()
    expect(console.heading()).to_have_text("Fall over")
    office.begin().complete("Up again")
    expect(page.locator("#live .status").first).to_have_text("Done")
    page.goto("/app/inbox")
    expect(page.locator(f"#failure-{task}")).to_have_count(0)


def test_a_dead_letter_is_replayed_once_its_reason_is_gone(console: Console, api: Api) -> None:
    office = Office(api, named("away"))
    agent = office.agent(name := named("unreachable"))
    page = console.goto("/app/bus")
    page.keyboard.press("c")
    page.get_by_label("To").select_option(label=name)
    page.get_by_label("Message").fill("Is anybody there?")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".thread")).to_contain_text("no runner is known that could lend one")
    page.goto(f"/app/bus?agent={agent}")
    page.get_by_label("Dead letters").check()
    expect(page).to_have_url(re.compile(r"dead=true"))
    row = page.get_by_role("row", name=re.compile("Is anybody there"))
    expect(row).to_contain_text("Given up")
    office.open()
    row.get_by_role("button", name="Replay").click()
    expect(row).to_have_count(0)
    work = office.begin()
    page.goto(f"/app/bus?agent={agent}")
    work.complete("I am here.")
    expect(page.get_by_role("row", name=re.compile("I am here"))).to_contain_text("answer")
    page.get_by_role("link", name="I am here.").click()
    expect(page.locator(".thread li")).to_have_text([re.compile("Is anybody there"), re.compile("I am here")])


def test_the_bus_shows_a_message_as_soon_as_it_is_sent(console: Console, api: Api) -> None:
    office = Office(api, named("live")).open()
    agent = office.agent(named("listener"))
    page = console.goto(f"/app/bus?agent={agent}&type=note")
    expect(page.locator("#live")).to_contain_text("No such message")
    sent = api.post("/api/messages", body={"to": agent, "text": "Read this", "type": "note"})
    assert sent.status_code == 200, sent.text
    expect(page.get_by_role("row", name=re.compile("Read this"))).to_be_visible()
    office.begin().complete("Read")
