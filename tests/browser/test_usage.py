"""What was spent: charts that are drawn from the tables beside them, filters, files, and the theme."""

from __future__ import annotations

import csv
import io
import re
import uuid
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, Position, expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import PHONE, Console
from tests.browser.office import Office
from tests.support.http import JSON, Api
from tests.support.server import Server

#: What a plot has drawn: of each bar, the sums that its parts end at, the uppermost part first.
_DRAWN = "id => document.getElementById(id).uplot.data.slice(1)"
#: How many of a plot's pixels have the colour of each swatch of a table.
_PIXELS = """([id, table]) => {
  const canvas = document.querySelector(`#${id} canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const seen = {};
  for (let at = 0; at < data.length; at += 4) {
    const color = `rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`;
    seen[color] = (seen[color] ?? 0) + 1;
  }
  return [...document.querySelectorAll(`#${table} .swatch`)].map((swatch) => seen[getComputedStyle(swatch).color] ?? 0);
}"""
_SLOW_TICK = "() => document.body.dispatchEvent(new CustomEvent('slow-tick'))"


class Spenders:
    """A team of two agents, with a run each that spends what the test says."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.team = f"team-{uuid.uuid4().hex[:8]}"
        office = Office(api, self.team).open()
        self.agents = [office.agent(name, team=self.team, autostart=True) for name in ("Ada", "Bob")]
        self.works = [office.started(f"Spend {n}", agent)[1] for n, agent in enumerate(self.agents)]
        self.path = f"/app/usage?team={self.team}"
        self.spend(0, "1", "claude-opus-4-6", input_tokens=100_000, output_tokens=20_000, cost_micros=3_000_000)
        self.spend(1, "1", "claude-haiku-4-5", input_tokens=50_000, cache_read_tokens=150_000, cost_micros=1_000_000)

    def spend(self, who: int, source: str, model: str, **usage: int) -> None:
        self.works[who].spend(source, model, **usage)

    def report(self) -> JSON:
        answer = self.api.get("/api/usage", query={"team": self.team, "daily": "true"})
        assert answer.status_code == 200, answer.text
        found: JSON = answer.json()
        return found


@pytest.fixture
def spenders(api: Api) -> Spenders:
    return Spenders(api)


def drawn(page: Page, plot: str) -> list[list[float]]:
    page.wait_for_function("id => document.getElementById(id)?.uplot", arg=plot)
    found: list[list[float]] = page.evaluate(_DRAWN, plot)
    return found


def newest(page: Page, plot: str) -> Position:
    """Where the last of a plot's bars stands, of thirty."""
    page.wait_for_function("id => document.getElementById(id)?.uplot", arg=plot)
    box = page.locator(f"#{plot} .u-over").bounding_box()
    assert box is not None
    return Position(x=box["width"] * 29.6 / 30, y=box["height"] - 10)


def test_a_chart_shows_what_the_api_says_and_what_is_new_comes_by_itself(console: Console, spenders: Spenders) -> None:
    page = console.goto(spenders.path)
    report = spenders.report()
    whole, lower = drawn(page, "cost-plot")
    assert whole == [day["cost_usd"] for day in report["daily_breakdown"]]
    assert lower == next(one["daily_cost_usd"] for one in report["by_agent"] if one["name"] == "Ada")
    assert drawn(page, "tokens-plot")[0] == [day["total_tokens"] for day in report["daily_breakdown"]]
    assert drawn(page, "cache-plot")[0][-1] == 100 * report["cache_hit_rate"]
    assert all(count > 50 for count in page.evaluate(_PIXELS, ["cost-plot", "cost"]))
    expect(page.locator(".figures")).to_contain_text("$4.000")
    runs = page.locator("#top-runs a.row")
    expect(runs).to_have_count(2)
    expect(page.locator("#runs-figure")).to_contain_text("2")

    spenders.spend(1, "2", "claude-haiku-4-5", output_tokens=5, cost_micros=9_000_000)
    page.locator("#cost-fold summary").click()
    page.evaluate(_SLOW_TICK)
    expect(page.locator(".figures")).to_contain_text("$13.000")
    expect(page.locator("#cost tbody tr").first).to_contain_text("Bob")
    page.wait_for_function(f"() => JSON.stringify(({_DRAWN})('cost-plot').map((sums) => sums.at(-1))) === '[13,10]'")
    assert page.locator("#cost-plot canvas").count() == 1
    expect(page.locator("#cost-by-time")).to_be_visible()  # as it was opened
    expect(page.locator("#runs-figure")).to_contain_text("2")
    expect(runs.first).to_contain_text("Spend 1")
    runs.first.click()
    expect(page).to_have_url(re.compile(r"/app/runs/"))


def test_a_bar_its_parts_and_menus_choose_what_is_shown(console: Console, spenders: Spenders) -> None:
    page = console.goto(spenders.path)
    page.get_by_role("link", name="By model").click()
    expect(page.locator("#cost tbody tr").first).to_contain_text("claude-opus-4-6")
    over = page.locator("#cost-plot .u-over")
    today = newest(page, "cost-plot")
    over.hover(position=today)
    tip = page.locator("#cost-plot .tip")
    for said in ("claude-opus-4-6", "$3.000", "claude-haiku-4-5", "$1.000", "Total", "$4.000"):
        expect(tip).to_contain_text(said)
    over.click(position=today)
    day = datetime.now(UTC).date()
    expect(page).to_have_url(re.compile(f"by=model&team={spenders.team}&from={day}&to={day}"))
    expect(page.get_by_role("heading", name="Cost an hour")).to_be_visible()
    assert len(drawn(page, "cost-plot")[0]) == 24
    page.locator("#cost a.row").first.click()
    expect(page.get_by_label("Model")).to_have_value("claude-opus-4-6")
    expect(page.locator("#cost tbody tr")).to_have_count(1)
    expect(page.locator(".figures")).to_contain_text("$3.000")
    page.get_by_label("Model").select_option("")
    expect(page.locator("#cost tbody tr")).to_have_count(2)
    page.get_by_label("Zone").fill("Asia/Tokyo")
    page.get_by_label("Zone").press("Enter")
    expect(page).to_have_url(re.compile(r"tz=Asia%2FTokyo"))
    page.get_by_role("link", name="7 days").click()
    expect(page).to_have_url(re.compile(r"period=week"))
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    assert len(drawn(page, "cost-plot")[0]) == 7
    # From one bar to another with the pointer: the days between.
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 4.5 / 7, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 6.6 / 7, box["y"] + 20, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=[-0-9]+&to=[-0-9]+"))
    expect(page.get_by_label("From", exact=True)).not_to_have_value("")
    assert len(drawn(page, "cost-plot")[0]) == 3


def test_a_file_has_what_the_table_shows(console: Console, spenders: Spenders) -> None:
    page = console.goto(spenders.path)
    with page.expect_download() as waiting:
        page.locator("section.chart", has_text="Cost a day").get_by_role("link", name="CSV").first.click()
    assert waiting.value.suggested_filename.startswith("usage-cost-")
    rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text())))
    assert [(row["agent"], row["cost_usd"]) for row in rows] == [("Ada", "3.000000"), ("Bob", "1.000000")]
    assert page.locator("#cost td.grow").all_inner_texts() == ["Ada", "Bob"]


def test_charts_change_their_colours_with_the_theme_and_fit_a_phone(
    open_console: ConsoleMaker, shared_server: Server, spenders: Spenders
) -> None:
    page = open_console(shared_server).goto(spenders.path)
    expect(page.locator("#cost-plot canvas")).to_be_visible()
    light = page.evaluate("() => getComputedStyle(document.querySelector('#cost .swatch')).color")
    page.get_by_role("button", name="Owner").click()
    page.get_by_role("button", name="Dark").click()
    assert light != page.evaluate("() => getComputedStyle(document.querySelector('#cost .swatch')).color")
    page.wait_for_function(f"() => ({_PIXELS})(['cost-plot', 'cost']).every((count) => count > 50)")
    phone = open_console(shared_server, width=PHONE, theme="dark")
    page = phone.goto(spenders.path)
    expect(page.locator("#top-runs a.row")).to_have_count(2)
    assert all(count > 50 for count in page.evaluate(_PIXELS, ["cost-plot", "cost"]))
    assert phone.overflow() <= 0
    bar, today = page.locator("#cost-plot .u-over"), newest(page, "cost-plot")
    bar.tap(position=today)
    expect(page.locator("#cost-plot .tip")).to_contain_text("Total")
    bar.tap(position=today)
    expect(page).to_have_url(re.compile("from="))


def test_an_agents_page_leads_to_what_it_spent(console: Console, spenders: Spenders) -> None:
    page = console.goto(f"/app/agents/{spenders.agents[0]}")
    spark = page.get_by_role("img", name="Cost of the last 30 days, day by day")
    expect(spark.locator("rect")).to_have_count(30)
    page.get_by_role("link", name=re.compile("in 30 days")).click()
    expect(page.get_by_label("Agent")).to_have_value(spenders.agents[0])
    expect(page.locator("#cost tbody tr")).to_have_text(re.compile("claude-opus-4-6"))


def test_a_price_is_set_where_one_was_missing_and_taken_back(console: Console, api: Api, spenders: Spenders) -> None:
    model = f"house-model-{spenders.team}"
    spenders.spend(0, "3", model, input_tokens=1_000_000)
    page = console.goto(spenders.path)
    page.get_by_role("link", name="See which, and set their prices").click()
    page.locator(f'[data-unpriced="{model}"]').get_by_role("link", name="Set its price").click()
    expect(page.get_by_label("Model")).to_have_value(model)
    for label, rate in (("Input", "2"), ("Output", "eight"), ("Cache read", "0.2"), ("Cache write", "2")):
        page.get_by_label(label, exact=True).first.fill(rate)
    page.get_by_role("button", name="Set the price").click()
    expect(page.locator("#output-wrong")).to_contain_text("A number of dollars")
    expect(page.get_by_label("Output", exact=True).first).to_be_focused()
    page.get_by_label("Output", exact=True).first.fill("8")
    page.get_by_role("button", name="Set the price").click()
    expect(page.get_by_role("status").filter(has_text="is set")).to_be_visible()
    spenders.spend(0, "4", model, input_tokens=1_000_000)
    assert spenders.report()["cost_usd"] == 6
    row = page.locator(f'[data-price="{model}"]')
    row.get_by_role("button", name="Remove…").click()
    page.get_by_role("button", name="Remove the price").click()
    expect(page.locator(f'[data-price="{model}"]')).to_have_count(0)
    assert model not in api.get("/api/usage/prices").text
