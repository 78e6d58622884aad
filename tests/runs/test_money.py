"""An attempt whose cost is limited is given the prices that it is reckoned with; others are asked about nothing."""

from __future__ import annotations

from typing import Any

import pytest

from corral.platform import database
from corral.usage import pricelists
from corral.wire.prices import Price, Prices, Rates
from corral.wire.runner import Limits
from tests.runs.world import World


async def test_a_limit_of_its_cost_brings_the_orgs_prices_in_their_order(world: World) -> None:
    await pricelists.replace(world.org_id, [Price("claude-*", Rates(9, 9, 9, 9))], "user:me")
    box = await world.runner()
    await world.launch(limits=Limits(max_cost_usd=1.5))
    (work,) = (await box.poll()).assignments
    assert work.money is not None
    assert work.money.allowed_micros is None
    found = Prices(work.money.prices).find("claude-haiku-4-5", 20_000)
    assert found is not None
    assert found.rates.input == 9


async def test_a_run_without_a_limit_has_no_money_and_takes_no_statement_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await world.runner()
    await world.launch()
    asked: list[str] = []
    fetch = database.fetch

    async def heard(text: str, *args: Any) -> database.Rows:
        asked.append(text)
        return await fetch(text, *args)

    monkeypatch.setattr(database, "fetch", heard)
    (work,) = (await box.poll()).assignments
    assert work.money is None
    assert asked == []
