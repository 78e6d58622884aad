"""An attempt spends what it was given: counted as it is spent, once, and stopped after the answer that was too much."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runner import allowance
from corral.wire.events import Usage
from corral.wire.prices import Book, Price, Rates, Tier
from corral.wire.purse import Purse
from corral.wire.runner import Assignment, CommandStatus, Limits, Money
from tests.runner.conftest import Running, command, until
from tests.runner.fake_server import FakeServer

Assign = Callable[..., Assignment]
#: A token costs a millionth of a dollar.
PRICES = [Price("model", Rates(*[1_000_000] * 4))]


def message(name: str, tokens: int) -> Usage:
    return Usage(f"1/message-{name}", "model", output_tokens=tokens, estimated=True)


def turn(number: int, tokens: int, micros: int | None = None) -> Usage:
    return Usage(f"1/turn-{number}/model", "model", output_tokens=tokens, cost_micros=micros)


def purse(allowed: int | None = None, prices: list[Price] | None = None, **limits: float) -> Purse:
    return Purse(Limits(**limits), Money(allowed, PRICES if prices is None else prices))  # type: ignore[arg-type]


def test_a_turns_line_takes_the_place_of_its_messages() -> None:
    held = purse(100)
    held.draft(message("a", 1))
    held.draft(message("a", 30))
    held.draft(message("b", 20))
    assert held.spent == 50
    held.spend(turn(1, 55))
    assert held.spent == 55
    held.draft(message("c", 10))
    held.draft(message("d", 5))
    held.spend(message("c", 12))  # told by itself: its turn tells no sums
    assert held.spent == 72
    held.spend(turn(2, 1, micros=20))  # what was reported counts
    assert held.spent == 87


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.booleans()), max_size=20))
def test_what_is_spent_is_what_the_ledger_will_say(said: list[tuple[str, int, bool]]) -> None:
    """Running counts of messages become differences once, whatever is told again."""
    held, told, open_ = purse(), 0, dict[str, int]()
    for number, (name, tokens, settles) in enumerate(said):
        held.draft(message(name, tokens))
        open_[name] = tokens
        if settles:
            held.spend(turn(number, sum(open_.values())))
            told += sum(open_.values())
            open_.clear()
        assert held.spent == told + sum(open_.values())


def test_the_prices_an_org_set_itself_come_first_at_the_runner_as_well() -> None:
    book = Book(7, [Price("claude-*", Rates(9, 9, 9, 9))], [Price("claude-haiku-4-5", Rates(1, 1, 1, 1))])
    held = purse(prices=list(book.ordered))
    held.spend(Usage("1/turn-1", "claude-haiku-4-5", input_tokens=1_000_000))
    assert held.spent == 9


def test_a_long_request_costs_what_it_costs_at_the_server() -> None:
    held = purse(prices=[Price("model", Rates(1_000_000, 0, 0, 0), tiers=(Tier(100, Rates(2_000_000, 0, 0, 0)),))])
    held.spend(Usage("1/turn-1", "model", input_tokens=150, longest=90))
    held.draft(Usage("1/message-a", "model", input_tokens=101))
    assert held.spent == 150 + 202


def test_a_purse_is_empty_when_all_of_it_is_spent_and_can_be_filled_again() -> None:
    held = purse(100)
    held.spend(turn(1, 99))
    assert held.pause() is None
    held.draft(message("a", 1))
    pause = held.pause()
    assert pause is not None
    assert pause.code == "budget"
    assert "$0.0001 of the $0.0001" in pause.message
    held.fund(101)
    assert held.pause() is None
    held.fund(50)
    assert held.pause() is not None


def test_a_purse_that_nothing_limits_is_never_empty() -> None:
    for held in (Purse(Limits(), None), purse()):
        held.spend(turn(1, 10**9, micros=10**12))
        assert held.pause() is None
        assert not held.is_at_its_limit
    held = purse(max_cost_usd=0.5)
    held.spend(turn(1, 1, micros=499_999))
    assert not held.is_at_its_limit
    held.draft(message("a", 1))
    assert held.is_at_its_limit


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for money."""
    monkeypatch.setattr(allowance, "PATIENCE_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_an_attempt_pauses_after_the_answer_that_was_too_much(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("answer:60 pace answer:60 message:used pace answer:60 wait", money=Money(100, PRICES)))
    await until(lambda: "run.paused" in server.types(run.run_id))
    (paused,) = server.payloads(run.run_id, "run.paused")
    assert (paused["code"], paused["hint"] != "") == ("budget", True)
    assert "$0.0001" in paused["message"]
    assert server.types(run.run_id) == ["run.started", "agent.message", "agent.message", "run.paused"]
    assert [usage.output_tokens for usage in server.usage[run.run_id].values()] == [60, 60]
    drafts = [batch.drafts for _, batch in server.batches if batch.drafts is not None]
    assert max(sum(line.output_tokens for line in one.lines) for one in drafts) == 120
    assert [one.at for one in drafts] == sorted({one.at for one in drafts})


async def test_an_answer_that_nobody_asked_about_is_one_too_many(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("answer:120 answer:60 wait", money=Money(100, PRICES)))
    await until(lambda: "run.paused" in server.types(run.run_id))


async def test_an_attempt_that_has_said_all_completes_though_that_was_too_much(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("answer:60 pace answer:80 usage:150 done:all", money=Money(100, PRICES)))
    await until(lambda: server.types(run.run_id)[-1:] in (["run.completed"], ["run.paused"]))
    assert server.types(run.run_id)[-1] == "run.completed"
    assert [usage.output_tokens for usage in server.usage[run.run_id].values()] == [150]


async def test_an_attempt_that_is_given_more_in_time_goes_on(
    server: FakeServer, runner: Running, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "PATIENCE_SECONDS", 60.0)
    run = server.offer(assign("answer:120 message:x pace answer:60 pace wait", money=Money(100, PRICES)))
    await until(lambda: "agent.message" in server.types(run.run_id))
    for micros, count in ((110, 1), (170, 2), (180, 2)):  # too little, enough, and again too little
        fund = server.ask(command("fund", run, b'{"allowed_micros": %d}' % micros))
        await until(lambda name=fund.id: name in server.results)  # type: ignore[misc]
        assert server.results[fund.id][0].status == CommandStatus.DONE
        await until(lambda count=count: server.types(run.run_id).count("agent.message") == count)  # type: ignore[misc]
    assert "run.paused" not in server.types(run.run_id)  # it has a minute
    server.ask(command("fund", run, b'{"allowed_micros": 181}'))
    await until(lambda: server.types(run.run_id).count("agent.message") == 3)


@pytest.mark.usefixtures("impatient")
async def test_an_attempt_that_waits_is_left_alone_and_pauses_when_it_would_ask_the_model_again(
    server: FakeServer, runner: Running, assign: Assign
) -> None:
    run = server.offer(assign("answer:60 ask:q pace wait", money=Money(100, PRICES)))
    await until(lambda: "permission.requested" in server.types(run.run_id))
    fund = server.ask(command("fund", run, b'{"allowed_micros": 10}'))
    await until(lambda: fund.id in server.results)
    server.ask(command("approve", run, b'{"request_id":"q","decision":"allow"}'))
    await until(lambda: "run.paused" in server.types(run.run_id))
    assert server.types(run.run_id)[-2:] == ["agent.message", "run.paused"]
    late = server.ask(command("fund", run, b'{"allowed_micros": 1000}'))
    await until(lambda: late.id in server.results)
    assert server.results[late.id][0].status == CommandStatus.FAILED


@pytest.mark.parametrize("most", [0.0, 0.0001])
async def test_a_run_fails_at_the_limit_of_its_cost(
    server: FakeServer, runner: Running, assign: Assign, most: float
) -> None:
    run = server.offer(assign("answer:120 pace wait", money=Money(None, PRICES), limits={"max_cost_usd": most}))
    await until(lambda: "run.failed" in server.types(run.run_id))
    (failed,) = server.payloads(run.run_id, "run.failed")
    assert failed["code"] == "max_budget"
    assert f"${most:g}" in failed["message"]
