"""Usage: sums, the ledger they are sums of, statements, and prices."""

from __future__ import annotations

import csv
import io
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.second_org import second_org
from tests.support.server import Server

SPENT = {
    "total_tokens", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd",
    "reported_cost_usd",
}  # fmt: skip


class Spender:
    """A run of an agent of its own team, which spends what the test says."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.team = f"team-{uuid.uuid4().hex[:8]}"
        self.hand = ByHand(api, f"spender-{uuid.uuid4().hex[:8]}")
        self.hand.register()
        self.claimed = self.hand.working(team=self.team)
        self.run_id: str = self.claimed["run_id"]
        self.agent_id: str = self.claimed["agent"]["id"]

    def spend(self, source: str, model: str = "claude-haiku-4-5", **usage: object) -> None:
        status, told = self.hand.send(self.claimed, usage=[{"source": source, "model": model, **usage}])
        assert status == 200, told

    def usage(self, **query: object) -> JSON:
        return self.read("/api/usage", **query)

    def read(self, path: str, **query: object) -> JSON:
        answer = self.api.get(path, query={"team": self.team, **query})
        assert answer.status_code == 200, answer.text
        found: JSON = answer.json()
        return found


@pytest.fixture
def spender(by_hand: Api) -> Spender:
    made = Spender(by_hand)
    made.spend("1", input_tokens=1_000_000, output_tokens=10, cache_read_tokens=3_000_000, cost_micros=1_500_000)
    made.spend("2", input_tokens=2_000_000)
    made.spend("3", model="unheard-of", output_tokens=7, estimated=True)
    made.spend("3", model="unheard-of", output_tokens=7, estimated=True)
    return made


def table(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_what_was_reported_counts_and_what_was_not_is_computed(spender: Spender) -> None:
    usage = spender.usage()
    assert set(usage) >= SPENT | {"from", "to", "tz", "cache_hit_rate", "task_count", "groups"}
    assert (usage["cost_usd"], usage["reported_cost_usd"]) == (3.5, 1.5)
    assert (usage["total_tokens"], usage["cache_hit_rate"]) == (6_000_017, 0.5)
    assert usage["groups"] is None
    (agent,) = usage["by_agent"]
    assert set(agent) >= SPENT | {"agent_id", "name", "task_count"}
    assert (agent["agent_id"], agent["cost_usd"]) == (spender.agent_id, 3.5)
    assert {one["model"]: one["cost_usd"] for one in usage["by_model"]} == {"claude-haiku-4-5": 3.5, "unheard-of": 0}
    assert len(usage["daily_breakdown"]) == 30


@pytest.mark.parametrize("group_by", ["team", "epic", "task", "user", "key", "run"])
def test_groups_add_up_to_the_total_and_have_names(spender: Spender, group_by: str) -> None:
    usage = spender.usage(group_by=group_by, period="day", daily="true")
    (group,) = usage["groups"]
    assert group["cost_usd"] == usage["cost_usd"]
    assert group["daily_cost_usd"] == [3.5]
    assert group["id"] == {"team": spender.team, "run": spender.run_id, "epic": None}.get(group_by, group["id"])
    names = {"team": spender.team, "epic": "", "task": "t", "run": "do it", "user": "Owner"}
    assert group["name"] == names.get(group_by, group["name"])


def test_groups_beyond_the_limit_are_summed_up(by_hand: Api, spender: Spender) -> None:
    del spender
    everything = by_hand.get("/api/usage", query={"group_by": "run"}).json()
    cut = by_hand.get("/api/usage", query={"group_by": "run", "limit": 1}).json()
    assert len(cut["groups"]) == 1
    assert everything["other_groups"] is None
    others = cut["other_groups"]["total_tokens"] if cut["other_groups"] else 0
    assert cut["groups"][0]["total_tokens"] + others == cut["total_tokens"] == everything["total_tokens"]


def test_days_are_those_of_the_time_zone(spender: Spender) -> None:
    today = datetime.now(UTC).date()
    week = spender.usage(**{"from": today - timedelta(days=6), "to": today + timedelta(days=1), "tz": "Asia/Tokyo"})
    assert (len(week["daily_breakdown"]), week["tz"], week["cost_usd"]) == (8, "Asia/Tokyo", 3.5)
    assert sum(day["cost_usd"] for day in week["daily_breakdown"]) == 3.5
    before = spender.usage(**{"from": "2020-01-01", "to": "2020-01-31"})
    assert (before["total_tokens"], len(before["daily_breakdown"]), before["by_agent"]) == (0, 31, [])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-01-01"}, "from"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "to"),
        ({"from": "1900-01-01", "to": "1900-01-02"}, "from"),
        ({"from": "2000-01-01", "to": "2026-01-02"}, "from"),
        ({"from": "2026-01-01", "period": "day"}, "period"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": "team", "limit": "0"}, "limit"),
        ({"format": "xml"}, "format"),
    ],
)
def test_a_bad_question_is_refused_by_field(by_hand: Api, query: dict[str, str], field: str) -> None:
    answer = by_hand.get("/api/usage", query=query)
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]


def test_the_ledger_lists_every_line_once_newest_first(spender: Spender) -> None:
    lines = spender.read("/api/usage/ledger")["data"]
    assert [line["source"] for line in lines] == ["3", "2", "1"]
    first = lines[-1]
    assert (first["cost_usd"], first["reported_cost_usd"], first["computed_cost_usd"]) == (1.5, 1.5, 1.30005)
    assert (first["run_id"], first["agent_id"], first["team"]) == (spender.run_id, spender.agent_id, spender.team)
    assert first["task_id"] is not None
    assert (first["epic_id"], first["estimated"]) == (None, False)
    assert first["price_version"] == spender.api.get("/api/usage/prices").json()["version"]
    assert (lines[0]["estimated"], lines[0]["computed_cost_usd"], lines[0]["price_version"]) == (True, None, None)
    assert spender.api.get("/api/v1/keys/:id", first["key_id"]).status_code == 200
    assert first["user_id"] is not None


def test_the_ledger_is_read_in_pages(spender: Spender) -> None:
    seen: list[str] = []
    path: str | None = f"/api/usage/ledger?team={spender.team}&limit=2&tz=Asia%2FTokyo"
    while path:
        answer = spender.api.client.get(path, headers={"authorization": f"Bearer {spender.api.key}"})
        seen += [line["source"] for line in answer.json()["data"]]
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert seen == ["3", "2", "1"]


def test_the_ledger_is_a_table_for_spreadsheets(spender: Spender) -> None:
    rows = table(spender.api.get("/api/usage/ledger", query={"team": spender.team}, headers={"accept": "text/csv"}))
    assert [row["cost_usd"] for row in rows] == ["0.000000", "2.000000", "1.500000"]
    assert rows == table(spender.api.get("/api/usage/ledger", query={"team": spender.team, "format": "csv"}))
    usage = table(spender.api.get("/api/usage", query={"team": spender.team, "format": "csv"}))
    assert sum(int(row["total_tokens"]) for row in usage) == 6_000_017


def test_no_cell_of_a_table_is_a_formula(by_hand: Api) -> None:
    spender = Spender(by_hand)
    spender.spend("=1+1", model="@SUM(A1)", input_tokens=1)
    (row,) = table(by_hand.get("/api/usage/ledger", query={"team": spender.team, "format": "csv"}))
    assert (row["source"], row["model"]) == ("'=1+1", "'@SUM(A1)")


def test_a_statement_bills_a_month_of_a_team(spender: Spender) -> None:
    month = f"{datetime.now(UTC):%Y-%m}"
    bill = spender.read("/api/usage/statement", month=month)
    assert (bill["month"], bill["team"], bill["label"]) == (month, spender.team, None)
    assert (bill["cost_usd"], bill["estimated_lines"], bill["unpriced_tokens"]) == (3.5, 1, 7)
    assert bill["daily_breakdown"][0]["date"] == f"{month}-01"
    for part in ("by_agent", "by_model", "daily_breakdown"):
        assert sum(one["cost_usd"] for one in bill[part]) == 3.5
    rows = table(spender.api.get("/api/usage/statement", query={"team": spender.team, "format": "csv"}))
    assert sum(float(row["cost_usd"]) for row in rows) == 3.5
    empty = spender.read("/api/usage/statement", month="2020-02", label="nothing")
    assert (empty["total_tokens"], len(empty["daily_breakdown"])) == (0, 29)
    for wrong in ("2020-13", "2020", "1020-01"):
        answer = spender.api.get("/api/usage/statement", query={"month": wrong})
        assert answer.status_code == 400
        assert "month" in answer.json()["error"]


def test_a_statement_is_a_page_to_print(spender: Spender) -> None:
    page = spender.api.get("/app/usage/statement", query={"team": spender.team})
    assert page.status_code == 200, page.text
    assert page.headers["content-type"].startswith("text/html")
    for told in (spender.team, "$3.500000", "unheard-of", "7 tokens are of models whose price is not known"):
        assert told in page.text


def test_a_statement_has_its_total_under_each_sum_and_leads_to_the_months_beside_it(spender: Spender) -> None:
    page = spender.api.get("/app/usage/statement", query={"team": spender.team, "month": "2020-02"}).text
    assert "February 2020" in page
    assert "month=2020-01&amp;team=" in page
    assert "month=2020-03&amp;team=" in page
    now = spender.api.get("/app/usage/statement", query={"team": spender.team}).text
    assert now.count("$3.500000") >= 4, "the head and three tables"
    assert len(re.findall(r'href="/app/usage/statement', now)) == 1, "none of months to come"


def test_prices_are_set_as_a_whole_and_an_answer_may_be_sent_back(hand_server: Server) -> None:
    with second_org(hand_server) as other:
        before = other.get("/api/usage/prices").json()
        assert all(price["builtin"] for price in before["prices"])
        own = {
            "model": "m-*",
            "from": "2026-01-01",
            "input": 1.5,
            "output": 2,
            "cache_read": 0.000001,
            "cache_write": 3,
        }
        tier = {"above": 1000, "input": 3, "output": 4, "cache_read": 5, "cache_write": 6}
        answer = other.put("/api/usage/prices", body={"prices": [{**own, "tiers": [tier]}]})
        assert answer.status_code == 200, answer.text
        after = answer.json()
        assert after["version"] > before["version"]
        assert after["prices"][0] == {**own, "tiers": [tier], "builtin": False}
        assert after["prices"][1:] == before["prices"]
        assert other.put("/api/usage/prices", body=after).json() == after
        assert other.get("/api/usage/prices").json() == after
        assert other.get("/api/usage/prices", query={"version": before["version"]}).json() == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": "a b"}, "model"),
        ({"input": -1}, "input"),
        ({"input": "1"}, "input"),
        ({"output": 1e9}, "output"),
        ({"from": "1900-01-01"}, "from"),
        ({"from": "soon"}, "from"),
        ({"tiers": [{"above": 1, "input": 1, "output": 1, "cache_read": 1, "cache_write": 1}] * 2}, "tiers"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_bad_price_is_refused_by_field(by_hand: Api, change: JSON, field: str) -> None:
    price = {"model": "m", "input": 1, "output": 1, "cache_read": 1, "cache_write": 1, **change}
    answer = by_hand.put("/api/usage/prices", body={"prices": [price]})
    assert answer.status_code == 400, answer.text
    assert f"prices[0].{field}" in answer.json()["error"]


def test_two_prices_of_a_model_from_the_same_day_are_refused(by_hand: Api) -> None:
    price = {"model": "m", "input": 1, "output": 1, "cache_read": 1, "cache_write": 1}
    answer = by_hand.put("/api/usage/prices", body={"prices": [price, price]})
    assert (answer.status_code, "two prices" in answer.json()["error"]) == (400, True)


def test_reading_usage_does_not_change_prices(key_for: Callable[..., Api]) -> None:
    with key_for("usage:read") as reader:
        for path in ("/api/usage", "/api/usage/ledger", "/api/usage/statement", "/api/usage/prices"):
            assert reader.get(path).status_code == 200
        assert reader.put("/api/usage/prices", body={"prices": []}).status_code == 403
    with key_for("runs:read") as stranger:
        for path in ("/api/usage/ledger", "/api/usage/statement", "/api/usage/prices"):
            assert stranger.get(path).status_code == 403


def test_another_orgs_lines_do_not_exist(hand_server: Server, spender: Spender) -> None:
    with second_org(hand_server) as other:
        for query in ({"team": spender.team}, {"run": spender.run_id}, {}):
            assert other.get("/api/usage/ledger", query=query).json() == {"data": []}
            assert other.get("/api/usage/statement", query={"team": spender.team}).json()["total_tokens"] == 0
