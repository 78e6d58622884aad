"""The bill is what was served, to the token, although every batch of events comes twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import pytest

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.fleet import Fleet
from tests.support.doubler import Doubler
from tests.support.http import JSON, follow
from tests.support.model import Model
from tests.support.server import Server
from tests.support.waiting import eventually

CLASSES = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
SUBAGENT = json.dumps({
    "description": "look", "subagent_type": "general-purpose", "model": "haiku",
    "prompt": "%bash echo deep %% %say got {{{result}}}",
})  # fmt: skip


@pytest.fixture
def doubler() -> Iterator[list[Doubler]]:
    made: list[Doubler] = []
    yield made
    for one in made:
        one.stop()


def fence(server: Server, run_id: str) -> None:
    """Give the run to a next attempt, as if its runner had been away for too long; that does not know it yet."""
    with sqlite3.connect(server.data / "corral.db", timeout=30) as database:
        database.execute(
            "UPDATE runs SET attempt = attempt + 1, lease = 'next-' || no, spool_n = 0, status = 'queued', "
            "started_at = NULL WHERE id = ?",
            (run_id,),
        )
    database.close()


def test_runs_cost_what_was_served_whatever_is_sent_twice(
    make_server: ServerMaker, start_runner: RunnerMaker, model: Model, doubler: list[Doubler]
) -> None:
    server = make_server()
    doubler.append(Doubler(server.url))
    fleet = Fleet(server, start_runner(server, url=doubler[0].url), model)
    taken = fleet.runner.work / "taken"
    fenced = fleet.launch(
        f"%bash echo a\n%next\n%bash if [ ! -e {taken} ]; then touch {taken}; sleep 100; fi\n%say again"
    )
    eventually(taken.exists)
    fence(server, fenced)
    plain = fleet.launch("%usage in=100 out=20 read=3000 write=500\n%bash echo a\n%error 529 x1 busy\n%say done")
    fleet.completed(plain)
    child = fleet.follow_up(plain, "%usage in=7 out=5 read=4000 write=30\n%say more")
    fleet.completed(child)
    nested = fleet.launch(f"%tool Agent {SUBAGENT}\n%say all done")
    fleet.completed(nested)
    fleet.completed(fenced)
    gate = fleet.runner.work / "gate"
    resumed = fleet.launch(f"%keep\n%bash if [ ! -e {gate} ]; then touch {gate}; sleep 100; fi\n%say resumed")
    eventually(gate.exists)
    fleet.runner.kill()
    fleet.runner.start()
    fleet.completed(resumed)
    assert doubler[0].doubled > 10
    runs = (fenced, plain, child, nested, resumed)
    sessions = {one["session_id"] for run in runs for one in fleet.payloads(run, "session.init")}
    served = [one["usage"] for session in sessions for one in model.served(session=session, status="finished")]
    expected = {name: sum(one[name] for one in served) for name in CLASSES}
    usage: JSON = fleet.api.get("/api/usage", query={"period": "day", "tz": "Asia/Tokyo", "group_by": "run"}).json()
    assert {name: usage[name] for name in CLASSES} == expected
    lines = fleet.api.get("/api/usage/ledger").json()["data"]
    assert {name: sum(line[name] for line in lines) for name in CLASSES} == expected
    assert usage["cost_usd"] == pytest.approx(sum(line["cost_usd"] for line in lines), abs=1e-9)
    assert {one["id"] for one in usage["groups"]} == set(runs)
    assert {line["run_id"] for line in lines if line["estimated"]} <= {fenced, resumed}
    for run in (fenced, resumed):  # the attempt that was cut off, and the one that came to its end
        attempts = {line["source"].partition("/")[0] for line in lines if line["run_id"] == run}
        assert "1" in attempts
        assert len(attempts) == 2
    assert all(line["computed_cost_usd"] is not None for line in lines)
    fleet.api.close()


def test_an_answer_that_is_cut_is_counted_and_marked_as_an_estimate(
    make_server: ServerMaker, start_runner: RunnerMaker, model: Model, doubler: list[Doubler]
) -> None:
    server = make_server()
    doubler.append(Doubler(server.url))
    fleet = Fleet(server, start_runner(server, url=doubler[0].url), model)
    run = fleet.launch("%usage in=50 out=400 read=100 write=0\n%bash echo a\n%next\n%pace 20\n%words 4000")
    fleet.wait_event(run, "agent.tool_result")
    session = fleet.wait_event(run, "session.init")["session_id"]
    next(frame for frame in follow(fleet.api, "/api/runs/:id/events/stream", run) if frame.id is None)  # it is said
    fleet.cancel(run)
    fleet.wait(run, "CANCELLED")
    told = [one["usage"] for one in model.served(session=session, kind="turn")]  # of the one that was cut, until then
    lines = fleet.api.get("/api/usage/ledger", query={"run": run}).json()["data"]
    assert lines
    assert all(line["estimated"] for line in lines)
    assert {line["cost_usd"] for line in lines} == {line["computed_cost_usd"] for line in lines}
    assert [one["status"] for one in model.served(session=session, kind="turn")] == ["finished", "cut"]
    for name in CLASSES:  # the stream begins with what was asked; what was answered is judged by what came of it
        spent, said = sum(line[name] for line in lines), [one[name] for one in told]
        assert spent == sum(said) if name != "output_tokens" else spent > said[0]
    shown = fleet.run(run)
    assert shown["costIsEstimated"]
    assert shown["costUsd"] == pytest.approx(sum(line["cost_usd"] for line in lines), abs=1e-9)  # no draft is left
    bill = fleet.api.get("/api/usage/statement").json()
    assert bill["estimated_lines"] == len(lines)
    assert bill["estimated_cost_usd"] == bill["cost_usd"] > 0
    fleet.api.close()
