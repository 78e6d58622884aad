"""Budgets: set, seen to stop runs in the middle, and raised."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.console import Console
from tests.browser.office import Office, Work
from tests.browser.test_agents import named
from tests.support.http import Api
from tests.support.waiting import eventually


def spend(work: Work, dollars: float) -> None:
    line = {"source": f"{work.claimed['attempt']}/1", "model": "m", "input_tokens": 1}
    status, told = work.runner.send(work.claimed, usage=[{**line, "cost_micros": round(dollars * 1_000_000)}])
    assert status == 200, told


def both(office: Office) -> list[Work]:
    """Begin the next attempts of two runs, once there are two."""
    found = {}

    def look() -> bool:
        found.update({one["run_id"]: one for one in office.runner.poll(free_slots=20)["assignments"]})
        return len(found) == 2

    eventually(look, what="both runs may be claimed")
    return [Work(office.runner, one) for one in found.values()]


def test_a_budget_stops_what_runs_and_what_would_begin_and_lets_both_go_on_when_it_is_raised(
    console: Console, api: Api
) -> None:
    office, team = Office(api, named("spends")).open(), named("team")
    one, other = (office.agent(named(name), team=team, autostart=True) for name in ("one", "other"))
    page = console.goto("/app/budgets")
    page.keyboard.press("c")
    expect(page.get_by_role("combobox", name="A team")).to_be_hidden()
    page.get_by_role("radio", name=re.compile("^A team")).check()
    page.get_by_role("combobox", name="A team").select_option(team)
    page.get_by_label("Limit, in dollars").fill("nothing")
    page.get_by_role("button", name="Set the budget").click()
    expect(page.locator("#limit-wrong")).to_contain_text("An amount")
    page.get_by_label("Limit, in dollars").fill("2")
    page.get_by_label("Period").select_option("Each day")
    page.get_by_role("button", name="Set the budget").click()
    expect(console.heading()).to_have_text(team)
    path = page.url
    standing = page.locator(".standing")
    expect(standing).to_contain_text("spent $0.00")

    task, work = office.started("Write until it stops", one)
    spend(work, 2.10)
    expect(standing).to_contain_text("spent $2.10 · 105.0 %")
    expect(page.locator(".facts").first).to_contain_text("Used up")
    pause = eventually(
        lambda: [told for told in office.runner.poll(free_slots=0)["commands"] if told["kind"] == "pause"],
        what="the runner is told to pause the run",
    )
    work.add(("run.paused", {"code": "budget", "message": f"budget {team}: spent"}))
    done = {"session": office.runner.session, "status": "done"}
    told = api.post("/api/v1/runners/:id/commands/:command_id", office.runner.id, pause[0]["id"], body=done)
    assert told.status_code == 200, told.text
    stopped = page.locator(".notice")
    expect(stopped).to_contain_text("It has paused 1 run. ")
    page.get_by_role("link", name=re.compile("Write until it stops")).click()
    why = page.get_by_role("region", name="Why it is paused")
    expect(why).to_contain_text(f"Budget {team}: ")
    expect(why.get_by_role("link", name="See the budgets")).to_be_visible()
    page.goto(path)
    held = office.task("Begin when there is money", other)
    expect(stopped).to_contain_text("paused 1 run and holds 1 that would begin")
    expect(page.get_by_role("row", name=re.compile("Write until it stops"))).to_contain_text("Paused")
    page.get_by_role("link", name=re.compile("Begin when there is money")).click()
    expect(page.locator(".notice")).to_contain_text(f"Budget {team}: ")
    page.get_by_role("link", name="See the budgets").click()
    row = page.get_by_role("row", name=re.compile(f"{team} — "))
    expect(row).to_contain_text("1 paused; 1 held")
    page.goto("/app/inbox")
    card = page.locator("[data-row]", has_text=f"for team {team} is spent")
    expect(card).to_contain_text("$2.10 of $2.00 a day")

    card.get_by_role("link", name=team).click()
    expect(page).to_have_url(path)
    page.get_by_label("Limit $").fill("20")
    page.get_by_role("button", name="Set the limit").click()
    expect(standing).to_contain_text("left $1")
    expect(stopped).to_have_count(0)
    begun = both(office)
    assert {run.claimed["attempt"] for run in begun} == {1, 2}
    assert [office.status(one) for one in (task, held)] == ["running", "running"]
    for run in begun:
        run.complete("Done")
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete the budget").click()
    expect(console.heading()).to_have_text("Budgets")
    expect(row).to_have_count(0)
