"""The pages of what was spent and what it costs: every table of them is a sum of lines, and its file says the same."""

from __future__ import annotations

import csv
import html
import io
import random
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from corral.platform import keys
from corral.platform.database import commit, sql
from corral.usage import ledger, pricelists
from corral.usage.accounts import Account
from corral.usage.ledger import MS_A_DAY, Spender
from corral.web.console import usage as page
from corral.web.console.usage_sheets import SHEETS
from corral.wire.events import Usage
from tests.support.http import JSON, Api
from tests.web.conftest import Running
from tests.web.test_policy import key_of

MODELS = ("claude-haiku-4-5", "claude-opus-4-6", "nobody-knows")
AGENTS = 12


@pytest.fixture(scope="module")
def spent(running: Running) -> JSON:
    """Lines of two months, of more agents than a chart has colours; returns ids by what they are."""
    chance = random.Random(1)
    with running.api() as api:
        agents = [made(api, "/api/agents", name=f"Agent <{n}>", **AGENT)["id"] for n in range(AGENTS)]
        run: str = made(api, "/api/v1/runs", prompt="Spend it", cwd="/srv")["id"]

    async def write() -> None:
        now = int(time.time() * 1000)
        book = await pricelists.current(1)
        for n in range(300):
            agent = agents[min(int(chance.expovariate(0.3)), AGENTS - 1)] if n % 10 else None
            account = Account(agent_id=agent, team=None if n % 3 else "Core", labels=("x",) if n % 2 else ())
            a, b, c, d = (chance.randrange(100_000) for _ in range(4))
            line = Usage(f"{n}", chance.choice(MODELS), a, b, c, d, cost_micros=chance.choice((None, 1_000 * n)))
            await commit(
                ledger.record(Spender(1, n % 20, run, account), [line], book, now - n * MS_A_DAY // 5 - 90_000)
            )

    running.do(write())
    return {"agents": agents, "run": run}


@pytest.fixture
def nobody(running: Running) -> Iterator[Api]:
    """A caller of an org in which nothing was spent."""

    async def make() -> str:
        token = f"{keys.PREFIX}of-an-org-that-spends-nothing"

        def unit() -> Any:
            yield sql("INSERT INTO orgs (id, name, created_at) VALUES (78, 'poor', 0) ON CONFLICT DO NOTHING")
            yield from keys.insert(78, name="k", scopes="*", user_id=None, token=token)

        await commit(unit())
        return token

    with running.api(running.do(make())) as caller:
        yield caller


AGENT = {"role": "Works.", "model": "m", "provider": "anthropic", "glyph": "x", "cli_name": "claude-code"}


def made(api: Api, path: str, **body: Any) -> JSON:
    answer = api.post(path, body=body)
    assert answer.status_code == 201, answer.text
    found: JSON = answer.json()
    return found


def shown(text: str, table: str) -> list[list[tuple[str, str]]]:
    """The cells of a table's rows: what they say, and their value."""
    found = re.search(rf'<table [^>]*id="{table}".*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert found, table
    rows = re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)
    return [
        [
            (html.unescape(re.sub(r"<[^>]*>", "", cell)), (re.findall(r'data-value="([^"]*)"', attributes) or [""])[0])
            for attributes, cell in re.findall(r"<td([^>]*)>(.*?)</td>", row, re.DOTALL)
        ]
        for row in rows
    ]


def table(answer: httpx.Response) -> list[list[str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(answer.text)))


def money(dollars: str) -> str:
    return f"${float(dollars):,.3f}"


@pytest.mark.parametrize("by", ["agent", "model", "team"])
def test_the_page_shows_who_spends_most_and_all_others_and_every_total_is_the_reports(
    full: Api, spent: JSON, by: str
) -> None:
    text = full.get("/app/usage", query={"by": by}).text
    report = full.get("/api/usage", query={"group_by": "team"}).json()
    parts = shown(text, "cost")
    names = [row[0][0] for row in parts]
    if by == "agent":
        assert len(parts) == 9
        assert names[-1] == f"{AGENTS + 1 - 8} others"
        top = sorted(report["by_agent"], key=lambda one: -one["cost_usd"])[:8]
        assert names[:-1] == [one["name"] or "Without an agent" for one in top]
    elif by == "model":
        assert set(names) == set(MODELS)
    else:
        assert sorted(names) == ["Core", "Without a team"]
    bars = shown(text, "cost-by-time")
    assert len(bars) == 30
    assert sum(int(value) for row in bars for _, value in row if value) == round(report["cost_usd"] * 1e6)
    for row, day in zip(bars, report["daily_breakdown"], strict=True):
        assert row[-1][0] == money(day["cost_usd"])
    assert f'<dd title="${report["cost_usd"]:,.6f}">' in text
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"):
        assert f"{report[name]:,}".replace(",", "\N{THIN SPACE}") in text
    assert "are of models whose price nobody knew" in text


def test_a_file_has_the_rows_that_the_page_shows(full: Api, spent: JSON) -> None:
    query = {"team": "Core", "by": "agent", "period": "week"}
    text = full.get("/app/usage", query=query).text
    for name in SHEETS:
        headers, *rows = table(full.get("/app/usage/export", query={**query, "table": name}))
        listed = shown(text, name)
        assert len(rows) == len(listed) > 0
        assert all(len(row) == len(headers) for row in rows)
        for row, cells in zip(rows, listed, strict=True):
            said = [cell for cell, _ in cells]
            if name == "cost":
                assert (row[0], money(row[-1])) == (said[0], said[-1])
            if name == "cost-by-time":
                assert datetime.fromisoformat(row[0]).strftime("%-d %B") in said[0]
                assert [money(one).replace("$0.000", "—") for one in row[1:-1]] == said[1:-1]
                assert money(row[-1]) == said[-1]
            if name in {"tokens", "tokens-by-time"}:
                values = [value for _, value in cells if value] or [said[-1].replace("\N{THIN SPACE}", "")]
                assert row[1:5] == values[:4] if name == "tokens-by-time" else row[-1] == values[0]
            if name == "cache":
                assert (row[0], f"{round(100 * float(row[-1]))} %") == (said[0], said[-1])
    runs = full.get("/app/usage/runs", query=query).text
    _, *rows = table(full.get("/app/usage/export", query={**query, "table": "runs"}))
    assert len(rows) == runs.count("<tr><td") == 10
    costs = [row[-1] for row in rows]
    assert re.findall(r'<td class="num">(\$[^<]*)</td></tr>', runs) == [money(cost) for cost in costs]
    assert costs == sorted(costs, key=float, reverse=True)
    assert full.get("/app/usage/export", query={"table": "secrets"}).status_code == 404


def test_the_fullest_budgets_stand_beside_what_filled_them(full: Api, spent: JSON) -> None:
    agent, other = spent["agents"][:2]
    for limit, whose in ((5, {"scope": "agent", "target": agent}), (1000, {"scope": "org"})):
        made(full, "/api/budgets", limit_usd=limit, period="total", hard=False, **whose)
    text = full.get("/app/usage").text
    rows = shown(text, "budgets")
    told = full.get("/api/budgets").json()
    told.sort(key=lambda one: -one["percent"])
    assert [row[-1][0] for row in rows] == [f"${one['left_usd']:,.2f}" for one in told]
    assert text.count('class="budget-bar') == 2
    headers, *listed = table(full.get("/app/usage/export", query={"table": "budgets"}))
    assert [dict(zip(headers, row, strict=True))["spent_usd"] for row in listed] == [
        f"{one['spent_usd']:.6f}" for one in told
    ]
    assert len(shown(full.get("/app/usage", query={"agent": other}).text, "budgets")) == 1  # the org's
    assert len(shown(full.get("/app/usage", query={"agent": agent}).text, "budgets")) == 2


def test_names_are_text_on_the_page_and_in_the_file(full: Api, spent: JSON) -> None:
    assert "Agent &lt;0&gt;" in full.get("/app/usage").text
    assert "<0>" not in full.get("/app/usage").text


def test_a_region_that_has_seen_everything_is_not_computed_again(
    running: Running, full: Api, spent: JSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = full.get("/app/usage", query={"by": "model"}).text
    again = html.unescape(re.findall(r'id="live" hx-get="([^"]*)"', text)[0])
    region = html.unescape(re.findall(r'id="top-runs"[^>]*hx-get="([^"]*)"', full.get("/app/usage/runs").text)[0])

    def wrong(*_: object, **__: object) -> None:
        raise AssertionError("nothing is summed up")

    htmx = {"HX-Request": "true"}
    with monkeypatch.context() as patch:
        for name in ("trend", "reports"):
            patch.setattr(page, name, wrong)
        assert full.get(again, headers=htmx).status_code == 204
        assert full.get(region, headers=htmx).status_code == 204
    assert full.get(again).status_code == 200  # a person who follows the link sees the page

    async def write() -> None:
        account, book = Account(agent_id=spent["agents"][0]), await pricelists.current(1)
        await commit(ledger.record(Spender(1, 1, spent["run"], account), [Usage("new", MODELS[0], 1)], book, now))

    now = int(time.time() * 1000)
    running.do(write())
    assert full.get(again, headers=htmx).status_code == 200
    assert full.get(region, headers=htmx).status_code == 200


def test_the_address_chooses_days_and_filters_and_a_click_keeps_the_others(full: Api, spent: JSON) -> None:
    agent = spent["agents"][0]
    text = full.get("/app/usage", query={"agent": agent, "label": "x", "tz": "Asia/Tokyo", "by": "model"}).text
    report = full.get("/api/usage", query={"agent": agent, "label": "x", "tz": "Asia/Tokyo"}).json()
    assert f'<dd title="${report["cost_usd"]:,.6f}">' in text
    assert "label <b>x</b>" in text
    links = [dict(parse_qsl(html.unescape(link))) for link in re.findall(r'href="/app/usage\?([^"]*)"', text)]
    chosen = {"agent": agent, "tz": "Asia/Tokyo", "by": "model"}
    first = report["daily_breakdown"][0]["date"]
    assert {**chosen, "label": "x", "from": first, "to": first} in links  # that day
    assert {**chosen, "label": "x", "period": "week"} in links
    assert chosen in links  # all labels again
    statement = next(link for link in re.findall(r'href="(/app/usage/statement[^"]*)"', text))
    assert full.get(html.unescape(statement)).status_code == 200
    today = datetime.now(UTC).date()
    day = full.get("/app/usage", query={"from": today - timedelta(days=1), "to": today - timedelta(days=1)}).text
    assert [row[0][0] for row in shown(day, "cost-by-time")] == [f"{hour:02}:00" for hour in range(24)]
    year = full.get("/app/usage", query={"to": today, "from": today - timedelta(days=364)}).text
    assert shown(year, "cost-by-time")[-1][0][0] == f"{today:%B %Y}"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"from": "yesterday"}, "is no day"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "is before"),
        ({"from": "2000-01-01"}, "may span at most"),
        ({"to": "1900-01-01"}, "1970"),
        ({"tz": "Mars/Olympus"}, "There is no time zone"),
        ({"period": "year"}, "none of day, week and month"),
    ],
)
def test_what_the_address_cannot_mean_is_said_and_the_form_stays(
    full: Api, spent: JSON, query: dict[str, str], said: str
) -> None:
    answer = full.get("/app/usage", query=query)
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    assert 'name="tz"' in answer.text
    assert full.get("/app/usage/runs", query=query).status_code == 400


def test_where_there_is_nothing_the_page_says_what_to_do(full: Api, nobody: Api, spent: JSON) -> None:
    nothing = nobody.get("/app/usage").text
    assert "Nothing was spent yet" in nothing
    assert 'href="/app/runs/new"' in nothing
    assert "data-plot" not in nothing
    none = full.get("/app/usage", query={"team": "of nobody"}).text
    assert "Nothing was spent in these 30 days by what you chose" in none
    assert "Without a price" not in nobody.get("/app/prices").text


# Prices


def posted(api: Api, path: str, **form: str) -> httpx.Response:
    return api.post(path, raw=urlencode(form), headers={"Content-Type": "application/x-www-form-urlencoded"})


RATES = {"input": "1.8", "output": "9", "cache_read": "0.18", "cache_write": "$2.25"}
PRICE = {"model": "nobody-knows", "from": "", **RATES}
TIER = {f"tier_{name}": "3" for name in RATES}


def test_a_model_without_a_price_is_named_and_gets_one(full: Api, spent: JSON) -> None:
    text = full.get("/app/prices").text
    assert 'data-unpriced="nobody-knows"' in text
    assert "Counts as nothing" in text
    assert 'href="/app/prices/set?model=nobody-knows"' in text
    assert 'value="nobody-knows"' in full.get("/app/prices/set", query={"model": "nobody-knows"}).text
    done = posted(full, "/app/prices", **PRICE)
    assert done.status_code == 303, done.text
    assert "is set" in full.get(done.headers["location"]).text
    text = full.get("/app/prices").text
    assert "Has one by now" in text
    own = full.get("/api/usage/prices").json()["prices"][0]
    assert own == {
        "model": "nobody-knows", "from": None, "input": 1.8, "output": 9, "cache_read": 0.18, "cache_write": 2.25,
        "tiers": [], "builtin": False,
    }  # fmt: skip


def test_a_price_of_ones_own_comes_before_the_built_in_one_until_it_is_removed(full: Api) -> None:
    today = datetime.now(UTC).date()
    for since in ("", f"{today}", f"{today + timedelta(days=7)}"):
        assert (
            posted(
                full, "/app/prices", **{**PRICE, **TIER, "above": "200,000", "model": "gpt-5", "from": since}
            ).status_code
            == 303
        )
    assert posted(full, "/app/prices", **{**PRICE, "model": "gpt-5", "input": "7"}).status_code == 303  # replaced
    before = full.get("/api/usage/prices").json()
    own = [price for price in before["prices"] if price["model"] == "gpt-5" and not price["builtin"]]
    assert [(price["input"], len(price["tiers"])) for price in own] == [(7, 0), (1.8, 1), (1.8, 1)]
    text = full.get("/app/prices").text
    later = f"Counts until {today + timedelta(days=6)}"
    for said in (f"Until {today - timedelta(days=1)}", later, "Counts later", "Your own counts"):
        assert said in text, said
    form = full.get("/app/prices/set", query={"model": "gpt-5", "from": str(today)}).text
    assert 'value="200000"' in form
    for since in ("", f"{today}", f"{today + timedelta(days=7)}"):
        assert posted(full, "/app/prices/remove", model="gpt-5", **{"from": since}).status_code == 303
    gone = posted(full, "/app/prices/remove", model="gpt-5", **{"from": ""})
    assert gone.status_code == 409
    assert "There is no price of your own for gpt-5" in gone.text
    assert "Your own counts" not in full.get("/app/prices").text
    old = full.get("/app/prices", query={"version": before["version"]}).text
    assert f"This is version {before['version']}" in old
    assert "Remove…" not in old
    assert full.get("/app/prices", query={"version": before["version"] + 100}).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": "two words"}, "model"),
        ({"model": "x" * 101}, "model"),
        ({"from": "soon"}, "from"),
        ({"from": "1900-01-01"}, "from"),
        ({"input": ""}, "input"),
        ({"input": "-1"}, "input"),
        ({"output": "nan"}, "output"),
        ({"output": "inf"}, "output"),
        ({"cache_read": "10001"}, "cache_read"),
        ({**TIER, "above": "0"}, "above-0"),
        ({**TIER, "above": "5", "tier_cache_write": ""}, "cache_write-0"),
        ({"above": "\N{SUPERSCRIPT TWO}"}, "above-0"),
    ],
)  # fmt: skip
def test_a_bad_price_is_refused_beside_its_field(full: Api, change: dict[str, str], field: str) -> None:
    before = full.get("/api/usage/prices").json()
    answer = posted(full, "/app/prices", **{**PRICE, **change})
    assert answer.status_code == 400, answer.text
    assert f'id="{field}-wrong"' in answer.text
    assert f'aria-describedby="{field}-wrong"' in answer.text
    assert full.get("/api/usage/prices").json() == before


def test_prices_are_set_by_admins_and_seen_by_everybody(running: Running) -> None:
    with running.api(running.do(key_of("member"))) as member:
        text = member.get("/app/prices").text
        assert "Only owners and admins change prices" in text
        assert "/app/prices/set" not in text
        assert member.get("/app/usage").status_code == 200
        assert member.get("/app/prices/set").status_code == 403
        for path in ("/app/prices", "/app/prices/remove"):
            assert posted(member, path, **PRICE).status_code == 403
