"""A budget stops the real Claude Code in the middle of its work, and lets it go on where it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.company import Company
from tests.flows.fleet import Fleet
from tests.support.http import JSON
from tests.support.model import Model
from tests.support.waiting import eventually

#: Of the scripted answers, at the price of claude-sonnet-5.
ANSWER = 0.02
#: So many of those, one after the other.
SCRIPT = (
    "%keep\n%repeat {count}\n%usage in=0 out=2000 read=0 write=0\n"
    "%bash echo step {{{{turn}}}}; sleep 0.2\n%next\n%end\n"
    "%say all done"
)


@pytest.fixture
def company(make_server: ServerMaker, start_runner: RunnerMaker, model: Model) -> Iterator[Company]:
    server = make_server()
    made = Company(server, {"box": start_runner(server, name="box")}, model)
    yield made
    made.api.close()


def budget(fleet: Fleet, dollars: float, scope: str = "org", target: str | None = None, **fields: object) -> str:
    body = {"scope": scope, "target": target, "limit_usd": dollars, "period": "total", "name": "Tight", **fields}
    answer = fleet.api.post("/api/budgets", body=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def stand(fleet: Fleet, budget_id: str) -> JSON:
    found: JSON = fleet.api.get("/api/budgets/:id", budget_id).json()
    return found


def alerts(fleet: Fleet, budget_id: str) -> list[int]:
    return [alert["percent"] for alert in stand(fleet, budget_id)["alerts"]]


def raised(fleet: Fleet, budget_id: str, dollars: float) -> None:
    assert fleet.api.patch("/api/budgets/:id", budget_id, body={"limit_usd": dollars}).status_code == 200


def test_a_run_is_stopped_in_its_midst_and_goes_on_when_the_budget_is_raised(company: Company) -> None:
    ada = company.agent("Ada", "box")
    limit = 5 * ANSWER
    tight = budget(company, limit)
    task = company.task(ada, SCRIPT.format(count=10))
    run = str(company.part(task, ada)["run_id"])
    why = "budget Tight: all of its $0.10 in all is spent"
    eventually(lambda: company.run(run)["reason"] == why, what=f"{run} waits for money", within=60)
    assert company.run(run)["status"] == "PAUSED"
    told = stand(company, tight)
    assert limit <= told["spent_usd"] <= limit + ANSWER + 1e-9
    assert (told["paused_runs"], told["level"]) == (1, "100")
    eventually(lambda: alerts(company, tight) == [50, 80, 100], what="all warnings are told")
    assert why in company.look(task)["why"]
    raised(company, tight, 100)
    assert company.result(task) == "all done"
    steps = [one for one in company.payloads(run, "agent.tool_result") if "step" in str(one)]
    assert len(steps) == 10  # none is left out, and what was paid for is not done again
    company.hold(run)
    eventually(lambda: alerts(company, tight) == [], what="the warnings are not true any more")
    shown = stand(company, tight)
    assert (shown["paused_runs"], shown["level"]) == (0, "ok")
    assert shown["spent_usd"] == pytest.approx(company.run(run)["costUsd"], abs=1e-6)


def test_runs_without_an_agent_wait_for_money_and_go_on_when_it_is_there(company: Company) -> None:
    where = company.machines["box"].work
    small = budget(company, 0.01)
    script = "%usage in=0 out=2000 read=0 write=0\n%say done"
    runs = [company.launch(f"{n}\n{script}", cwd=where, model="claude-sonnet-5") for n in range(2)]
    company.completed(runs[0])
    why = "budget Tight: all of its $0.01 in all is spent"
    for run in runs[1:]:
        eventually(lambda run=run: company.run(run)["reason"] == why, what=f"{run} is held")  # type: ignore[misc]
        assert company.run(run)["status"] == "QUEUED"
    assert stand(company, small)["held_runs"] == 1
    raised(company, small, 5)
    for run in runs[1:]:
        company.completed(run)


def test_a_run_whose_answers_cost_more_than_it_is_lent_does_not_stop_while_there_is_money(company: Company) -> None:
    """It is lent a dollar at first."""
    plenty = budget(company, 100)
    turn = "%usage in=0 out=120000 read=0 write=0\n%bash echo step\n%next\n"
    run = company.launch(f"{turn * 4}%say done", cwd=company.machines["box"].work, model="claude-sonnet-5")
    company.completed(run)
    assert company.payloads(run, "run.paused") == []
    assert stand(company, plenty)["spent_usd"] > 4.8


def test_an_agent_of_the_platform_is_stopped_and_goes_on(make_server: ServerMaker, model: Model) -> None:
    company = Company(make_server(env={"ANTHROPIC_BASE_URL": model.url}), {}, model)
    secret = {"key": "ANTHROPIC_API_KEY", "value": "sk-any", "scope": "org"}
    assert company.api.post("/api/secrets", body=secret).status_code == 200
    ada = company.agent("Ada", "anthropic", team="Core")
    limit = 3 * ANSWER
    tight = budget(company, limit, "team", "Core")
    turn = "%usage in=0 out=2000 read=0 write=0\n%tool list_agents {}\n%next\n"
    task = company.task(ada, f"{turn * 5}%say all done")
    run = str(company.part(task, ada)["run_id"])
    why = "budget Tight: all of its $0.06 in all is spent"
    eventually(lambda: why in (company.look(task)["why"] or ""), what=why, within=60)
    assert company.run(run)["status"] == "PAUSED"
    assert limit <= stand(company, tight)["spent_usd"] <= limit + ANSWER + 1e-9
    raised(company, tight, 100)
    assert company.result(task) == "all done"
    assert stand(company, tight)["spent_usd"] == pytest.approx(5 * ANSWER, abs=ANSWER)
    company.api.close()
