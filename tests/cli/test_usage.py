"""`corral usage`: reports, exports and prices. The runs are made by hand."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.server import Server

RATES = ("--input", "1.5", "--output", "2", "--cache-read", "0.1", "--cache-write", "3")


class Spent:
    """A run of an agent of its own, in a team of its own, that cost three dollars."""

    def __init__(self, api: Api) -> None:
        self.team = f"team-{uuid.uuid4().hex[:8]}"
        hand = ByHand(api, self.team)
        hand.register()
        self.run = hand.working(team=self.team)
        self.agent: str = self.run["agent"]["name"]
        lines: list[JSON] = [
            {"source": f"{n}", "model": f"model-{n}", "input_tokens": n, "cost_micros": n * 1_000_000} for n in (1, 2)
        ]
        assert hand.send(self.run, usage=lines)[0] == 200
        self.month = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture(scope="module")
def spent(hand_server: Server) -> Spent:
    with hand_server.api() as api:
        return Spent(api)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("by", ["agent", "model", "day", "team", "epic", "task", "user", "key", "run"])
def test_a_report_sums_up_by_anything(corral: Command, hand_server: Server, spent: Spent, by: str) -> None:
    done = corral("usage", "report", "--by", by, "--team", spent.team, "--month", spent.month, server=hand_server)
    assert done.code == 0, done.err
    header, *lines, total = done.out.splitlines()
    assert header.split()[:2] == [by.upper(), "COST"]
    assert total.split() == ["total", "$3.0000", "3", "0", "0", "0"]
    assert len(lines) == (2 if by == "model" else 1)
    names = {
        "agent": spent.agent,
        "model": "model-2",
        "day": f"{spent.month}-",
        "team": spent.team,
        "epic": "without an epic",
    }
    assert lines[0].startswith(names.get(by, ""))
    assert f"{spent.month}-01 to {spent.month}-" in done.err


def test_without_a_subcommand_the_last_days_are_reported(corral: Command, hand_server: Server, spent: Spent) -> None:
    done = corral("usage", server=hand_server)
    assert done.code == 0
    assert any(line.startswith(spent.agent) and "$3.0000" in line for line in done.out.splitlines())
    told = corral("usage", "--json", server=hand_server).json()
    assert {"by_agent", "by_model", "daily_breakdown", "cost_usd"} <= set(told)


def test_an_export_is_every_line_once(corral: Command, hand_server: Server, spent: Spent, folder: Path) -> None:
    done = corral("usage", "export", "--agent", spent.agent, server=hand_server)
    assert [row["source"] for row in rows(done.out)] == ["2", "1"]
    assert {row["run_id"] for row in rows(done.out)} == {spent.run["run_id"]}
    to_file = corral("usage", "export", "--run", spent.run["run_id"], "-o", "out.csv", server=hand_server)
    assert (to_file.code, to_file.out) == (0, "")
    assert rows((folder / "out.csv").read_text()) == rows(done.out)
    told = corral("usage", "export", "--agent", spent.agent, "--json", server=hand_server).out.splitlines()
    assert [json.loads(line)["source"] for line in told] == ["2", "1"]


def test_a_statement_is_exported_with_its_sums(corral: Command, hand_server: Server, spent: Spent) -> None:
    done = corral("usage", "export", "--statement", "--month", spent.month, "--team", spent.team, server=hand_server)
    assert [(row["model"], row["cost_usd"]) for row in sorted(rows(done.out), key=lambda row: row["model"])] == [
        ("model-1", "1.000000"),
        ("model-2", "2.000000"),
    ]
    bill = corral("usage", "export", "--statement", "--team", spent.team, "--json", server=hand_server).json()
    assert (bill["month"], bill["team"], bill["cost_usd"]) == (spent.month, spent.team, 3.0)


def test_a_price_is_set_listed_and_taken_back(corral: Command, hand_server: Server) -> None:
    made = corral(
        "usage", "prices", "set", "my-*", *RATES, "--from", "2026-01-01", "--tier", "1000:2:3:4:5", server=hand_server
    )
    assert made.code == 0, made.err
    listed = corral("usage", "prices", server=hand_server)
    lines = listed.out.splitlines()
    own = next(n for n, line in enumerate(lines) if line.startswith("my-*"))  # others may have set some here
    assert lines[own].split() == ["my-*", "1.5", "2", "0.1", "3", "2026-01-01", "your", "own"]
    assert lines[own + 1].split() == ["above", "1,000", "2", "3", "4", "5"]
    assert any(line.startswith("claude-haiku-4-5 ") and line.endswith("built in") for line in lines[own:])
    told = corral("usage", "prices", "--json", server=hand_server).json()["prices"]
    assert [one["builtin"] for one in told if one["model"] == "my-*"] == [False]
    assert corral("usage", "prices", "remove", "my-*", server=hand_server).code == 0
    assert "my-*" not in corral("usage", "prices", server=hand_server).out
    assert corral("usage", "prices", "remove", "my-*", server=hand_server).code == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("report", "--by", "colour"), "colour"),
        (("report", "--month", "2026-13"), "2026-13"),
        (("report", "--month", "2026-11", "--from", "2026-11-01"), "--month"),
        (("export", "--statement", "--from", "2026-11-01"), "--month"),
        (("prices", "set", "m", *RATES, "--tier", "x"), "--tier"),
    ],
)
def test_what_is_asked_wrong_is_said(
    corral: Command, hand_server: Server, arguments: tuple[str, ...], told: str
) -> None:
    done = corral("usage", *arguments, server=hand_server)
    assert done.code == 2
    assert told in done.err
