"""The console's pages of budgets."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest

from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.seeds import AGENT
from tests.support.waiting import eventually
from tests.web.conftest import Person, Running
from tests.web.test_secret_pages import an_agent

PersonMaker = Callable[[str], Person]
FORM = {"scope": "agent", "limit": "5", "period": "month", "tz": "UTC", "hard": "false"}


@pytest.fixture
def agent(running: Running) -> str:
    return an_agent(running, "Spender")


def kept(full: Api, path: str) -> JSON:
    found: JSON = full.get("/api/budgets/:id", path.rpartition("/")[2]).raise_for_status().json()
    return found


def test_the_form_sets_a_budget_and_changes_it(full: Api, person: PersonMaker, agent: str) -> None:
    admin = person("admin")
    answer = admin.post("/app/budgets", **{**FORM, "agent": agent, "limit": " $1,250.50 ", "tz": "Europe/Berlin"})
    assert answer.status_code == 303, answer.text
    path = answer.headers["Location"]
    made = kept(full, path)
    assert (made["scope"], made["target"], made["name"], made["limit_usd"]) == ("agent", agent, "Spender", 1250.5)
    assert (made["period"], made["tz"], made["hard"]) == ("month", "Europe/Berlin", False)
    page = admin.get(path)
    assert 'value="1250.50"' in page
    assert f'href="/app/agents/{agent}"' in page
    assert "corral budgets set 1250.50 --period month --agent Spender --soft" in page
    again = admin.post("/app/budgets", **{**FORM, "agent": agent})
    assert again.status_code == 400
    assert "already" in again.text.partition('id="period-wrong"')[2].partition("</span>")[0]
    changed = {**FORM, "limit": "0.01", "period": "total", "name": "Tight", "hard": "true"}
    assert admin.post(f"{path}/edit", **changed).headers["Location"] == path
    made = kept(full, path)
    assert (made["limit_usd"], made["period"], made["name"], made["hard"]) == (0.01, "total", "Tight", True)
    assert 'value="Tight"' in admin.get(f"{path}/edit")
    raised = admin.post(f"{path}/limit", limit="20")
    assert raised.status_code == 303
    assert kept(full, path)["limit_usd"] == 20
    refused = admin.post(f"{path}/limit", limit="a lot")
    assert refused.status_code == 400
    assert "An amount in dollars" in refused.text
    assert admin.post(f"{path}/delete").headers["Location"] == "/app/budgets"
    admin.get(path, 404)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"limit": ""}, "limit", "An amount"),
        ({"limit": "0.001"}, "limit", "An amount"),
        ({"limit": "nan"}, "limit", "An amount"),
        ({"limit": "1e12"}, "limit", "An amount"),
        ({"period": "year"}, "period", "Choose"),
        ({"tz": "Mars/Olympus"}, "tz", "Mars/Olympus"),
        ({"tz": ""}, "tz", "time zone"),
        ({"name": "n" * 101}, "name", "At most 100"),
        ({"scope": "planet"}, "scope", "Choose"),
        ({"scope": "team", "team": "nobody's"}, "team", "nobody"),
        ({"scope": "team", "team": ""}, "team", "Choose"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    person: PersonMaker, agent: str, fields: dict[str, str], field: str, says: str
) -> None:
    answer = person("admin").post("/app/budgets", **{**FORM, "agent": agent, **fields})
    assert answer.status_code == 400
    assert says in html.unescape(answer.text.partition(f'id="{field}-wrong"')[2].partition("</span>")[0])


def test_a_bar_shows_what_is_spent_and_an_overdrawn_one_is_drawn_smaller(full: Api, person: PersonMaker) -> None:
    hand = ByHand(full, "spends")
    hand.register()
    claimed = hand.working(team="bars")
    usage = [{"source": "1", "model": "m", "input_tokens": 1, "cost_micros": 4_000_000}]
    assert hand.send(claimed, usage=usage)[0] == 200
    admin = person("admin")
    bars = []
    for limit in ("2", "5", "100"):
        answer = admin.post("/app/budgets", **{**FORM, "scope": "team", "team": "bars", "limit": limit})
        page = admin.get(answer.headers["Location"])
        spent = re.search(r'<rect class="spent" width="(\d+)"', page)
        marks = re.findall(r'<line class="mark" x1="(\d+)"', page)
        assert spent
        bars.append((int(spent[1]), [int(mark) for mark in marks]))
        listed = admin.get("/app/budgets")
        assert "$4.00" in listed
        assert {"2": "Overspent", "5": "Over 80 %", "100": "Fine"}[limit] in listed
        admin.post(f"{answer.headers['Location']}/delete")
    assert bars == [(1000, [250, 400, 500]), (800, [500, 800, 1000]), (40, [500, 800, 1000])]


def test_what_a_budget_has_paused_is_counted_as_waiting_until_a_person_keeps_it_paused(
    full: Api, person: PersonMaker
) -> None:
    hand, admin = ByHand(full, "stopped"), person("admin")
    hand.register()
    full.post("/api/agents", body={**AGENT, "name": "first of the team", "team": "stopped"}).raise_for_status()
    form = {**FORM, "scope": "team", "team": "stopped", "limit": "2", "hard": "true"}
    budget = admin.post("/app/budgets", **form).headers["Location"]
    claimed = hand.working(team="stopped")
    run = f"/app/runs/{claimed['run_id']}"

    def waiting() -> int:
        found = re.search(r'id="pending" data-count="(\d+)"', admin.get("/app/inbox"))
        assert found
        return int(found[1])

    before = waiting()
    assert "Keep paused" not in admin.get(run)
    usage = [{"source": "1", "model": "m", "input_tokens": 1, "cost_micros": 3_000_000}]
    assert hand.send(claimed, (2, "run.paused", {"code": "budget", "message": "spent"}), usage=usage)[0] == 200
    eventually(lambda: waiting() == before + 1, what="the budget is counted")
    page = admin.get(run)
    assert "Keep paused" in page
    assert "Continue" in page
    assert admin.post(f"{run}/pause").status_code == 303
    page = admin.get(run)
    assert "Keep paused" not in page
    assert "Paused by a person" in page
    assert waiting() == before
    admin.post(f"{budget}/delete")


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_who_is_no_admin_sees_budgets_and_no_form(full: Api, person: PersonMaker, agent: str, role: str) -> None:
    path = person("admin").post("/app/budgets", **{**FORM, "agent": agent}).headers["Location"]
    somebody = person(role)
    for page in ("/app/budgets", path):
        main = somebody.get(page).partition("<main")[2].partition("</main>")[0]
        assert "Spender" in main
        assert "<form" not in main
        assert "/app/budgets/new" not in main
    for page in ("/app/budgets/new", f"{path}/edit"):
        somebody.get(page, 403)
    for form in ("/app/budgets", f"{path}/edit", f"{path}/limit", f"{path}/delete"):
        assert somebody.post(form, **FORM).status_code == 403
    assert kept(full, path)["limit_usd"] == 5


def test_nothing_that_limits_says_what_a_budget_is(running: Running, full: Api, person: PersonMaker) -> None:
    for budget in full.get("/api/budgets").json():
        full.delete("/api/budgets/:id", budget["id"])
    assert "/app/budgets/new" in person("admin").get("/app/budgets").partition("<main")[2]
    assert "Owners and admins set them" in person("viewer").get("/app/budgets")
