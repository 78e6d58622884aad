"""What is under no hard budget pays nothing for those there are: not one statement."""

from __future__ import annotations

from typing import Any

import pytest

from corral.platform import database
from corral.wire.events import Drafts, EventType, Usage
from tests.agents.money import (
    DOLLAR,
    budget,
    spends,
    started,
)
from tests.agents.office import Office


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All statements from now on."""
    heard: list[str] = []
    commit, fetch = database.commit, database.fetch

    def noted(unit: Any) -> Any:
        rows = None
        while True:
            try:
                statement = unit.send(rows)
            except StopIteration as done:
                return done.value
            heard.append(statement.sql)
            rows = yield statement

    async def committed(unit: Any) -> Any:
        return await commit(noted(unit))

    async def fetched(text: str, *args: Any) -> Any:
        heard.append(text)
        return await fetch(text, *args)

    monkeypatch.setattr(database, "commit", committed)
    monkeypatch.setattr(database, "fetch", fetched)
    return heard


async def test_without_a_hard_budget_over_it_a_run_takes_todays_statements(office: Office, said: list[str]) -> None:
    ada = await office.agent(team="Core")
    await office.agent("Bob", team="Edge")

    async def story() -> list[str]:
        said.clear()
        await office.launch()
        alone = await office.work()
        await spends(alone, 5, EventType.AGENT_MESSAGE)
        await office.send(alone.assignment, alone.n + 1, drafts=Drafts(1, [Usage("d", "m")]))
        await alone.ends()
        agents = await office.at_work(ada)
        await spends(agents, 5, EventType.AGENT_MESSAGE)
        await agents.is_cut_off()
        again = await office.work()
        await again.ends()
        return [text for text in said if not any(word in text for word in ("price_lists", "AS online"))]  # remembered

    await story()  # what is remembered from then on
    without = await story()
    await budget(office, DOLLAR, "team", "Edge")
    await budget(office, DOLLAR, hard=False)
    assert await story() == without
    assert not await database.fetch("SELECT 1 FROM reservations")


async def test_ingest_takes_the_same_statements_under_budgets_as_without(office: Office, said: list[str]) -> None:
    async def story() -> list[str]:
        await office.launch()
        (work,) = await started(office)
        said.clear()
        await spends(work, 5, EventType.AGENT_MESSAGE)
        await office.send(work.assignment, work.n + 1, drafts=Drafts(1, [Usage("d", "m")]))
        await work.ends()
        return [text for text in said if "price_lists" not in text]  # remembered

    await story()
    without = await story()
    await budget(office, DOLLAR)
    await budget(office, DOLLAR, "key", "test")
    assert await story() == without
