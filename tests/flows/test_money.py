"""Money while it is spent: a run's cost is known in mid-turn, and an attempt stops when what it was given is spent."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest

from corral.usage.prices import BUILTIN
from corral.wire.prices import MILLION, Book
from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.fleet import Fleet, served_tokens
from tests.support.doubler import Doubler
from tests.support.http import JSON
from tests.support.model import Model
from tests.support.waiting import eventually

MODEL = "claude-haiku-4-5"  # five dollars a million tokens out
CLASSES = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")


class Lender(Doubler):
    """Sends every batch twice, and gives every attempt so much money."""

    micros: int | None = None

    def given(self, content: bytes) -> bytes:
        answer: JSON = json.loads(content)
        for work in answer["assignments"] if self.micros is not None else ():
            prices = msgspec.to_builtins(Book(0, (), BUILTIN).ordered)
            work["money"] = {"allowed_micros": self.micros, "prices": prices}
        return json.dumps(answer).encode()


@pytest.fixture
def lent(make_server: ServerMaker, start_runner: RunnerMaker, model: Model) -> Iterator[tuple[Fleet, Lender]]:
    server = make_server()
    lender = Lender(server.url)
    fleet = Fleet(server, start_runner(server, url=lender.url), model)
    yield fleet, lender
    fleet.api.close()
    lender.stop()


def ledger(fleet: Fleet, run: str) -> list[JSON]:
    lines: list[JSON] = fleet.api.get("/api/usage/ledger", query={"run": run}).json()["data"]
    return lines


def test_the_cost_of_a_turn_is_known_while_it_goes_on_and_exact_when_it_has_ended(lent: tuple[Fleet, Lender]) -> None:
    fleet, lender = lent
    gate = fleet.runner.work / "gate"
    inner = "%bash echo deep %% %say got {{{result}}}"
    agent = json.dumps({"description": "look", "subagent_type": "general-purpose", "prompt": inner})
    turns = [
        "%usage in=100 out=20 read=3000 write=500\n%bash echo a",
        "%error 529 x1 busy\n%bash echo b",
        f"%tool Agent {agent}",
        f"%bash while [ ! -e {gate} ]; do sleep 0.1; done",
        "%say done",
    ]
    run = fleet.launch("\n%next\n".join(turns), model=MODEL)
    fleet.wait_event(run, "agent.tool_result", 4)
    session = fleet.wait_event(run, "session.init")["session_id"]
    during = eventually(lambda: _as_served(fleet, run, session), what="all that was served so far is counted")
    assert during is not None
    assert (during["costIsEstimated"], during["costUsd"] > 0, ledger(fleet, run)) == (True, True, [])
    (by_model,) = during["usageByModel"]
    assert (by_model["usage"], by_model["costUsd"]) == (during["usage"], during["costUsd"])
    gate.touch()
    done = fleet.completed(run)
    assert done["usage"] == served_tokens(fleet.model, session)
    assert not done["costIsEstimated"]
    lines = ledger(fleet, run)
    assert done["costUsd"] == pytest.approx(sum(line["cost_usd"] for line in lines), abs=1e-9)
    assert all(line["reported_cost_usd"] == line["cost_usd"] for line in lines)
    assert lender.doubled > 10


def _as_served(fleet: Fleet, run: str, session: str) -> JSON | None:
    """The run as it is shown, once it counts what the model has served; sub-agents' answers are not streamed to us."""
    shown = fleet.run(run)
    served = served_tokens(fleet.model, session)
    same = all(shown["usage"][name] == served[name] for name in CLASSES if name != "outputTokens")
    return shown if same and shown["usage"]["outputTokens"] > 0 else None


def test_an_attempt_stops_after_the_answer_that_was_too_much_and_goes_on_with_more(lent: tuple[Fleet, Lender]) -> None:
    fleet, lender = lent
    lender.micros = 250_000
    done = fleet.runner.work / "done"
    turn = f"%usage in=0 out=20000\n%bash echo x >> {done}\n%next\n"  # ten cents
    run = fleet.launch(f"%keep\n{turn * 5}%say all of it", model=MODEL)
    paused = fleet.wait(run, "PAUSED")
    (reason,) = fleet.payloads(run, "run.paused")
    assert reason["code"] == "budget"
    assert reason["message"] == paused["reason"]
    assert fleet.events(run)[-1]["event_type"] == "run.paused"
    session = fleet.payloads(run, "session.init")[0]["session_id"]
    asked = fleet.model.served(session=session, kind="turn")
    assert [one["usage"]["output_tokens"] for one in asked] == [20_000] * 3  # the third was too much, and the last
    assert 0 < paused["costUsd"] * MILLION - lender.micros <= 100_000 + 20_000
    lines = ledger(fleet, run)
    assert all(line["estimated"] for line in lines)  # no turn has ended
    assert sum(line["output_tokens"] for line in lines) == 60_000
    assert paused["costUsd"] == pytest.approx(sum(line["cost_usd"] for line in lines), abs=1e-9)
    lender.micros = MILLION  # how much of the third turn is in the CLI's session by now differs
    answer = fleet.api.post("/api/runs/:id/continue", run, body={})
    assert answer.status_code == 200, answer.text
    completed = fleet.completed(run)
    assert fleet.text(run) == "all of it"
    assert len(done.read_text().split()) >= 5
    sessions = {one["session_id"] for one in fleet.payloads(run, "session.init")}
    served = [served_tokens(fleet.model, one) for one in sessions]
    assert completed["usage"] == {name: sum(one[name] for one in served) for name in CLASSES}
    assert len(fleet.payloads(run, "run.paused")) == 1
    fleet.hold(run)
