"""`corral budgets`: set, changed, listed, deleted. The runs are made by hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Command, Done
from tests.support.by_hand import ByHand
from tests.support.http import Api
from tests.support.server import Server


class Team:
    """A team of one agent, whose run cost three dollars."""

    def __init__(self, api: Api) -> None:
        self.name = f"team-{uuid.uuid4().hex[:8]}"
        hand = ByHand(api, self.name)
        hand.register()
        self.run = hand.working(team=self.name)
        self.agent: str = self.run["agent"]["name"]
        spent = {"source": "1", "model": "m", "input_tokens": 1, "cost_micros": 3_000_000}
        assert hand.send(self.run, usage=[spent])[0] == 200


@pytest.fixture
def team(hand_server: Server) -> Iterator[Team]:
    with hand_server.api() as api:
        yield Team(api)
        for budget in api.get("/api/budgets").json():
            api.delete("/api/budgets/:id", budget["id"])


def row(done: Done, name: str) -> list[str]:
    """The cells of the budget with this name."""
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if f" {name} " in line]
    return line.split()


def test_a_budget_is_set_listed_changed_and_deleted(corral: Command, hand_server: Server, team: Team) -> None:
    of_team = ("--team", team.name, "--period", "day")
    named = ("--name", "Daily", "--tz", "Europe/Berlin", "--soft")
    made = corral("budgets", "set", "4", *of_team, *named, server=hand_server)
    assert made.out == "Set: Daily, $4.00 a day, of which $3.00 is spent.\n", made.err
    listed = row(corral("budgets", server=hand_server), "Daily")
    assert " ".join(listed[1:]) == f"Daily team {team.name} $4.00 a day $3.00 $0.00 $1.00 75 % no, it warns"
    changed = corral("budgets", "set", "40.5", *of_team, "--hard", "--json", server=hand_server).json()
    assert {"limit_usd": 40.5, "hard": True, "name": "Daily", "tz": "Europe/Berlin"}.items() <= changed.items()
    assert row(corral("budgets", "list", server=hand_server), "Daily")[-1] == "yes"
    assert corral("budgets", "delete", "Daily", server=hand_server).out == "Deleted.\n"
    assert "Daily" not in corral("budgets", server=hand_server).out
    assert corral("budgets", "delete", "Daily", server=hand_server).code == 1


def test_a_budget_is_of_whom_it_names(corral: Command, hand_server: Server, team: Team) -> None:
    with hand_server.api() as api:
        task = api.post("/api/tasks", body={"title": "T", "input": "x", "assignee": team.run["agent"]["id"]}).json()
        key = api.post("/api/v1/keys", body={"name": f"key of {team.name}", "scopes": ["runs:read"]}).json()
    for arguments, scope, target in (
        ((), "org", None),
        (("--agent", team.agent), "agent", team.run["agent"]["id"]),
        (("--task", task["id"][-8:]), "task", task["id"]),
        (("--key", f"key of {team.name}"), "key", key["id"]),
    ):
        done = corral("budgets", "set", "500", "--soft", "--json", *arguments, server=hand_server)
        assert done.code == 0, done.err
        assert (done.json()["scope"], done.json()["target"]) == (scope, target)
        assert corral("budgets", "delete", done.json()["id"][-8:], "--json", server=hand_server).json() == {"ok": True}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("0",), "limit_usd"),
        (("5", "--period", "year"), "--period"),
        (("5", "--team", "nobody's"), "nobody's"),
        (("5", "--team", "a", "--agent", "b"), "--agent"),
        (("5", "--tz", "Mars/Olympus"), "Mars/Olympus"),
    ],
)
def test_what_is_asked_wrong_is_said(
    corral: Command, hand_server: Server, arguments: tuple[str, ...], told: str
) -> None:
    done = corral("budgets", "set", *arguments, server=hand_server)
    assert done.code in {1, 2}  # refused, or misused
    assert told in done.err
