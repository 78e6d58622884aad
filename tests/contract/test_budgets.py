"""Budgets: set, looked at, changed, deleted."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.contract.reference import UUIDV7
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.second_org import second_org
from tests.support.server import Server

UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"


class Team:
    """A team of one agent, whose run spends what the test says."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.name = f"team-{uuid.uuid4().hex[:8]}"
        self.hand = ByHand(api, f"spender-{uuid.uuid4().hex[:8]}")
        self.hand.register()
        self.claimed = self.hand.working(team=self.name)
        self.agent_id: str = self.claimed["agent"]["id"]

    def spend(self, source: str, dollars: float) -> None:
        usage = [{"source": source, "model": "m", "input_tokens": 1, "cost_micros": round(dollars * 1_000_000)}]
        status, told = self.hand.send(self.claimed, usage=usage)
        assert status == 200, told

    def budget(self, **fields: object) -> JSON:
        return made(self.api, scope="team", target=self.name, **fields)


@pytest.fixture
def team(by_hand: Api) -> Iterator[Team]:
    """A team; its budgets are gone afterwards."""
    team = Team(by_hand)
    yield team
    for budget in by_hand.get("/api/budgets").json():
        if team.name in (budget["target"], budget["target_name"]):
            assert by_hand.delete("/api/budgets/:id", budget["id"]).status_code == 200


def made(api: Api, **fields: object) -> JSON:
    answer = api.post("/api/budgets", body={"limit_usd": 10, "period": "month", **fields})
    assert answer.status_code == 201, answer.text
    budget: JSON = answer.json()
    return budget


def test_a_budget_says_how_it_stands(team: Team) -> None:
    team.spend("1", 2.5)
    budget = team.budget(name="Monthly", limit_usd=4, tz="Europe/Berlin", hard=False)
    assert UUIDV7.fullmatch(budget["id"])
    assert {
        "name": "Monthly", "scope": "team", "target": team.name, "target_name": team.name, "limit_usd": 4.0,
        "period": "month", "tz": "Europe/Berlin", "hard": False, "spent_usd": 2.5, "reserved_usd": 0.0,
        "left_usd": 1.5, "percent": 62.5, "level": "50", "paused_runs": 0, "held_runs": 0,
    }.items() <= budget.items()  # fmt: skip
    assert budget["period_start"] < budget["created_at"] < budget["period_end"]
    team.spend("2", 2.5)
    shown = team.api.get("/api/budgets/:id", budget["id"]).json()
    assert (shown["spent_usd"], shown["left_usd"], shown["percent"], shown["level"]) == (5.0, 0.0, 125.0, "100")
    assert team.api.get("/api/budgets").json()[0]["spent_usd"] == 5.0


def test_a_part_of_a_budget_is_changed(team: Team) -> None:
    budget = team.budget(hard=False)
    assert (budget["name"], budget["hard"], budget["tz"]) == (team.name, False, "UTC")
    body = {"limit_usd": 20.5, "period": "total", "name": "All of it", "hard": True, "tz": "Asia/Tokyo"}
    changed = team.api.patch("/api/budgets/:id", budget["id"], body=body)
    assert changed.status_code == 200
    same = {name: value for name, value in changed.json().items() if name in body}
    assert same == body
    assert (changed.json()["period_start"], changed.json()["period_end"]) == (None, None)
    assert team.api.patch("/api/budgets/:id", budget["id"], body={}).json()["limit_usd"] == 20.5


def test_one_of_a_kind(team: Team) -> None:
    month = team.budget(hard=False)
    day = team.budget(period="day", hard=False)
    again = team.api.post("/api/budgets", body={"scope": "team", "target": team.name, "period": "day", "limit_usd": 1})
    assert again.status_code == 409
    assert "day" in again.json()["error"]
    assert team.api.patch("/api/budgets/:id", day["id"], body={"period": "month"}).status_code == 409
    assert team.api.patch("/api/budgets/:id", month["id"], body={"period": "month"}).status_code == 200


def test_every_scope_is_named_by_whom_it_is_for(by_hand: Api, team: Team) -> None:
    key = by_hand.post("/api/v1/keys", body={"name": f"key of {team.name}", "scopes": ["runs:read"]}).json()
    task = by_hand.post("/api/tasks", body={"title": "A tree", "input": "x", "assignee": team.agent_id}).json()
    for scope, target, name in (
        ("org", None, None),
        ("agent", team.agent_id, None),
        ("task", task["id"], "A tree"),
        ("key", key["id"], f"key of {team.name}"),
    ):
        budget = made(by_hand, scope=scope, hard=False, **({"target": target} if target else {}))
        assert (budget["scope"], budget["target"]) == (scope, target)
        assert budget["target_name"]
        assert name is None or budget["target_name"] == name
        assert by_hand.delete("/api/budgets/:id", budget["id"]).json() == {"ok": True}
        assert by_hand.get("/api/budgets/:id", budget["id"]).status_code == 404
        assert by_hand.delete("/api/budgets/:id", budget["id"]).status_code == 404


def test_a_budget_of_a_task_is_of_its_whole_tree(by_hand: Api, team: Team) -> None:
    root = by_hand.post("/api/tasks", body={"title": "Root", "input": "x", "assignee": team.agent_id}).json()
    below = by_hand.post(
        "/api/tasks", body={"title": "Below", "input": "x", "assignee": team.agent_id, "parent": root["id"]}
    ).json()
    answer = by_hand.post(
        "/api/budgets", body={"scope": "task", "target": below["id"], "limit_usd": 1, "period": "total"}
    )
    assert answer.status_code == 400
    assert root["id"] in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit_usd": 1, "period": "day"}, "scope"),
        ({"scope": "epic", "target": UNKNOWN, "limit_usd": 1, "period": "day"}, "scope"),
        ({"scope": "org", "period": "day"}, "limit_usd"),
        ({"scope": "org", "limit_usd": 0, "period": "day"}, "limit_usd"),
        ({"scope": "org", "limit_usd": -1, "period": "day"}, "limit_usd"),
        ({"scope": "org", "limit_usd": "1", "period": "day"}, "limit_usd"),
        ({"scope": "org", "limit_usd": 1}, "period"),
        ({"scope": "org", "limit_usd": 1, "period": "year"}, "period"),
        ({"scope": "org", "limit_usd": 1, "period": "day", "tz": "Mars/Olympus"}, "tz"),
        ({"scope": "org", "limit_usd": 1, "period": "day", "hard": "yes"}, "hard"),
        ({"scope": "org", "limit_usd": 1, "period": "day", "name": "n" * 101}, "name"),
        ({"scope": "org", "limit_usd": 1, "period": "day", "target": "x"}, "target"),
        ({"scope": "team", "limit_usd": 1, "period": "day"}, "target"),
        ({"scope": "team", "limit_usd": 1, "period": "day", "target": "nobody's"}, "target"),
        ({"scope": "agent", "limit_usd": 1, "period": "day", "target": UNKNOWN}, "target"),
        ({"scope": "task", "limit_usd": 1, "period": "day", "target": UNKNOWN}, "target"),
        ({"scope": "key", "limit_usd": 1, "period": "day", "target": UNKNOWN}, "target"),
        ({"scope": "org", "limit_usd": 1, "period": "day", "color": "red"}, "color"),
    ],
)
def test_a_bad_budget_is_refused_by_field(by_hand: Api, body: JSON, field: str) -> None:
    answer = by_hand.post("/api/budgets", body=body)
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]


def test_a_bad_change_is_refused_by_field(team: Team) -> None:
    budget = team.budget(hard=False)
    for body, field in (({"limit_usd": 0}, "limit_usd"), ({"tz": "x"}, "tz"), ({"color": "red"}, "color")):
        answer = team.api.patch("/api/budgets/:id", budget["id"], body=body)
        assert answer.status_code == 400, (body, answer.text)
        assert field in answer.json()["error"]


def test_who_only_reads_changes_nothing(team: Team, key_for: Callable[..., Api]) -> None:
    budget = team.budget(hard=False)
    reader = key_for("usage:read")
    assert reader.get("/api/budgets").status_code == 200
    assert reader.post("/api/budgets", body={"scope": "org", "limit_usd": 1, "period": "day"}).status_code == 403
    assert reader.patch("/api/budgets/:id", budget["id"], body={}).status_code == 403
    assert reader.delete("/api/budgets/:id", budget["id"]).status_code == 403


def test_another_orgs_budgets_do_not_exist(team: Team, hand_server: Server) -> None:
    budget = team.budget(hard=False)
    with second_org(hand_server) as other:
        assert other.get("/api/budgets").json() == []
        assert other.get("/api/budgets/:id", budget["id"]).status_code == 404
        assert other.patch("/api/budgets/:id", budget["id"], body={}).status_code == 404
        assert other.delete("/api/budgets/:id", budget["id"]).status_code == 404
        theirs = {"scope": "agent", "target": team.agent_id, "limit_usd": 1, "period": "day"}
        assert other.post("/api/budgets", body=theirs).status_code == 400


def test_the_list_is_newest_first_with_limit_and_before(team: Team) -> None:
    made = [team.budget(period=period, hard=False)["id"] for period in ("day", "week", "total")]
    page = team.api.get("/api/budgets", query={"limit": 2, "before": made[2]})
    assert [one["id"] for one in page.json()] == [made[1], made[0]]
    assert team.api.get("/api/budgets", query={"before": UNKNOWN}).status_code == 400


def test_a_repeat_with_an_idempotency_key_sets_one_budget(team: Team) -> None:
    body = {"scope": "team", "target": team.name, "limit_usd": 1, "period": "day", "hard": False}
    answers = [team.api.post("/api/budgets", body=body, headers={"Idempotency-Key": team.name}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
