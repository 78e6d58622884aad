"""The log: whatever a runner sends, however often and in whatever pieces, is stored once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.base.errors import BadRequest, LeaseLost
from corral.platform import database
from corral.platform.settings import Settings
from corral.runs import approvals, feed, ingest, outcomes, queue
from corral.runs.hints import Hints
from corral.usage import ledger
from corral.wire.events import EventBatch, EventType, RunnerEvent, Usage
from corral.wire.runner import Assignment, CommandResult, CommandStatus
from corral.wire.runs import RunStatus
from tests.runs.world import Machine, World, numbered, opened
from tests.support.waiting import PATIENCE

MESSAGE = EventType.AGENT_MESSAGE


async def started(world: World) -> tuple[Machine, Assignment]:
    box = await world.runner(max_pods=100)
    await world.launch()
    work = (await box.poll()).assignments[0]
    await world.send(work, 1, EventType.RUN_STARTED)
    return box, work


async def test_events_are_numbered_without_gaps_between_both_writers(world: World) -> None:
    _, work = await started(world)
    await world.send(work, 2, MESSAGE, MESSAGE)
    await queue.say(world.org_id, work.run_id, "and now?", "user:me")
    await world.send(work, 4, MESSAGE)
    run = await world.run(work.run_id)
    events = await feed.events(run.no)
    assert [e.seq for e in events] == [1, 2, 3, 4, 5, 6]
    assert [e.type for e in events][4] == "user.message"


async def test_a_batch_sent_twice_is_stored_once(world: World) -> None:
    _, work = await started(world)
    for _ in range(2):
        assert (await world.send(work, 2, MESSAGE, MESSAGE)).n == 3
    assert len(await world.log(await world.run(work.run_id))) == 4


async def test_a_batch_after_a_gap_is_not_stored_and_told_where_to_go_on(world: World) -> None:
    _, work = await started(world)
    assert (await world.send(work, 5, MESSAGE)).n == 1


async def test_a_batch_that_overlaps_is_stored_from_where_it_is_new(world: World) -> None:
    _, work = await started(world)
    await world.send(work, 2, MESSAGE, MESSAGE)
    assert (await world.send(work, 3, MESSAGE, MESSAGE, MESSAGE)).n == 5


async def test_the_end_sent_again_after_its_answer_was_lost_is_acknowledged(world: World) -> None:
    _, work = await started(world)
    for _ in range(2):
        assert (await world.send(work, 2, (EventType.RUN_COMPLETED, {"text": "done"}))).n == 2
    with pytest.raises(LeaseLost):
        await world.send(work, 3, MESSAGE)
    assert (await world.run(work.run_id)).status == RunStatus.COMPLETED


async def test_a_fenced_attempts_events_are_refused_and_its_usage_is_not(world: World) -> None:
    _, work = await started(world)
    fenced = msgspec.structs.replace(work, lease="wrong")
    with pytest.raises(LeaseLost):
        await world.send(fenced, 2, MESSAGE, usage=[Usage("1/turn-1/m", "m", output_tokens=5)])
    run = await world.run(work.run_id)
    assert (await ledger.totals([run.no]))[run.no].output_tokens == 5
    assert len(await world.log(run)) == 2


async def test_usage_sent_again_adds_nothing(world: World) -> None:
    _, work = await started(world)
    line = Usage("1/turn-1/m", "m", input_tokens=7, cost_micros=1500)
    for _ in range(3):
        await world.send(work, 2, MESSAGE, usage=[line])
    run = await world.run(work.run_id)
    totals = (await ledger.totals([run.no]))[run.no]
    assert (totals.input_tokens, totals.cost_usd) == (7, 0.0015)


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ([RunnerEvent(2, MESSAGE, msgspec.Raw(b"{}")), RunnerEvent(4, MESSAGE, msgspec.Raw(b"{}"))], "events[1].n"),
        ([RunnerEvent(2, EventType.USER_MESSAGE, msgspec.Raw(b"{}"))], "events[0].type"),
        ([RunnerEvent(2, MESSAGE, msgspec.Raw(b"[]"))], "events[0].payload"),
        ([RunnerEvent(2, EventType.PERMISSION_REQUESTED, msgspec.Raw(b'{"tool":"Bash"}'))], "events[0].payload"),
        (
            [
                RunnerEvent(
                    2,
                    EventType.PERMISSION_REQUESTED,
                    msgspec.Raw(b'{"request_id":"r","kind":"tool","tool":"B\\u0000","input":{},"cwd":"/"}'),
                )
            ],
            "events[0].payload.tool",
        ),
        (
            [
                RunnerEvent(
                    2,
                    EventType.PERMISSION_REQUESTED,
                    msgspec.Raw(b'{"request_id":"%b","kind":"tool","tool":"B","input":{},"cwd":"/"}' % (b"r" * 101)),
                )
            ],
            "events[0].payload.request_id",
        ),
        ([RunnerEvent(2, MESSAGE, msgspec.Raw(b'{"text":"\xff"}'))], "events[0].payload"),
        (
            [RunnerEvent(2, EventType.RUN_COMPLETED, msgspec.Raw(b"{}")), RunnerEvent(3, MESSAGE, msgspec.Raw(b"{}"))],
            "events[0].type",
        ),
    ],
)
async def test_an_event_that_cannot_be_stored_is_named(world: World, events: list[RunnerEvent], field: str) -> None:
    _, work = await started(world)
    with pytest.raises(BadRequest) as error:
        await ingest.ingest(world.org_id, work.run_id, EventBatch(work.attempt, work.lease, events))
    assert error.value.field == field


async def test_a_payload_with_line_breaks_and_nul_escapes_is_kept_as_one_line(world: World) -> None:
    _, work = await started(world)
    events = [RunnerEvent(2, MESSAGE, msgspec.Raw(b'{\n "text": "a\\u0000b\\n"\r\n}'))]
    await ingest.ingest(world.org_id, work.run_id, EventBatch(work.attempt, work.lease, events))
    stored = (await feed.events((await world.run(work.run_id)).no))[-1]
    assert stored.payload == '{"text":"a\\u0000b\\n"}'


async def interrupted(world: World, box: Machine, work: Assignment, first: int, *said: EventType) -> Assignment:
    """Let the attempt begin its session, say something, and be cut off; return the next one."""
    init = (EventType.SESSION_INIT, {"session_id": "s1"})
    await world.send(work, first, init, *said, EventType.SESSION_INTERRUPTED)
    box.held = []
    (again,) = (await box.poll()).assignments
    await world.send(again, 1, EventType.RUN_STARTED)
    return again


async def test_an_interrupted_attempt_is_resumed_in_its_session(world: World) -> None:
    box, work = await started(world)
    again = await interrupted(world, box, work, 2, MESSAGE)
    assert (again.attempt, again.session_id, again.resume, again.stored_n) == (2, "s1", "interrupted", 0)
    assert "Continue where you left off" in again.prompt
    third = await interrupted(world, box, again, 2)
    assert (third.session_id, third.resume, third.prompt) == ("s1", "interrupted", again.prompt)


async def test_an_attempt_cut_off_before_its_first_word_begins_anew(world: World) -> None:
    """Its session may not be on disk, and does not have the prompt if it is a parent's."""
    box, work = await started(world)
    again = await interrupted(world, box, work, 2)
    assert (again.session_id, again.resume, again.fork, again.prompt) == (None, None, False, work.prompt)
    await world.send(again, 2, (EventType.SESSION_INIT, {"session_id": "s2"}), MESSAGE, EventType.RUN_COMPLETED)
    for is_fork in (False, True):
        box.held = []
        await queue.follow_up(world.org_id, work.run_id, "and now?", "user:me")
        (child,) = (await box.poll()).assignments
        await world.send(child, 1, EventType.RUN_STARTED)
        began = (EventType.SESSION_INIT, {"session_id": "s3" if is_fork else "s2"})
        await world.send(child, 2, began, EventType.SESSION_INTERRUPTED)
        box.held = []
        (retried,) = (await box.poll()).assignments
        assert (retried.session_id, retried.resume, retried.fork) == ("s2", "followup", is_fork)
        assert retried.prompt == "and now?"
        await world.send(retried, 1, EventType.RUN_STARTED, EventType.RUN_COMPLETED)


async def test_what_a_person_said_to_an_attempt_that_did_not_answer_reaches_the_next(world: World) -> None:
    box, work = await started(world)
    await queue.say(world.org_id, work.run_id, "the red one", "user:me")
    again = await interrupted(world, box, work, 2)
    assert again.prompt.startswith(work.prompt)
    assert again.prompt.endswith("the red one")
    await world.send(again, 2, (EventType.SESSION_INIT, {"session_id": "s1"}), MESSAGE)
    await asyncio.sleep(0.002)  # the database's clock counts milliseconds
    await queue.say(world.org_id, work.run_id, "heard, not answered", "user:me")
    (told,) = (await box.poll()).commands
    result = CommandResult(box.session, CommandStatus.DONE)
    await outcomes.finish(world.org_id, box.id, told.id, result)
    await queue.say(world.org_id, work.run_id, "never heard", "user:me")
    third = await interrupted(world, box, again, 4)
    assert "Continue where you left off" in third.prompt
    assert third.prompt.endswith("heard, not answered\n\nnever heard")
    assert "the red one" not in third.prompt


async def test_a_cancelled_run_that_is_interrupted_ends(world: World) -> None:
    _, work = await started(world)
    await queue.cancel(world.org_id, work.run_id, "user:me")
    await world.send(work, 2, EventType.SESSION_INTERRUPTED)
    assert (await world.run(work.run_id)).status == RunStatus.CANCELLED


ASK = {"request_id": "r1", "kind": "tool", "tool": "Bash", "input": {"command": "npm test"}, "cwd": "/code"}


async def test_an_approval_is_a_row_answered_once_and_given_to_the_runner(world: World) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.PERMISSION_REQUESTED, ASK))
    assert (await world.run(work.run_id)).status == RunStatus.WAITING
    (asked,) = await approvals.page(world.org_id)
    await approvals.answer(world.org_id, asked.id, "deny", "user:me", reason="not now")
    with pytest.raises(Exception, match="denied"):
        await approvals.answer(world.org_id, asked.id, "allow", "user:me")
    (command,) = (await box.poll()).commands
    told = msgspec.json.decode(command.payload)
    assert (told["request_id"], told["decision"], told["reason"]) == ("r1", "deny", "not now")
    assert (await world.run(work.run_id)).status == RunStatus.RUNNING


async def test_an_approval_nobody_answers_expires_as_a_denial(world: World) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.PERMISSION_REQUESTED, ASK))
    assert await approvals.expire() == 0
    await database.fetch("UPDATE approvals SET expires_at = now_ms() - 1")
    assert await approvals.expire() == 1
    (command,) = (await box.poll()).commands
    assert msgspec.json.decode(command.payload)["decision"] == "deny"


async def test_an_answer_given_between_two_attempts_applies_once_to_the_identical_action(world: World) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.SESSION_INIT, {"session_id": "s1"}), (EventType.PERMISSION_REQUESTED, ASK))
    await world.send(work, 4, EventType.SESSION_INTERRUPTED)
    (asked,) = await approvals.page(world.org_id)
    await approvals.answer(world.org_id, asked.id, "allow", "user:me")
    box.held = []
    again = (await box.poll()).assignments[0]
    await world.send(again, 1, EventType.RUN_STARTED, (EventType.PERMISSION_REQUESTED, {**ASK, "request_id": "r9"}))
    (command,) = (await box.poll()).commands
    assert msgspec.json.decode(command.payload)["request_id"] == "r9"
    assert await approvals.page(world.org_id) == []
    other = {**ASK, "request_id": "r10", "input": {"command": "rm -rf /"}}
    await world.send(again, 3, (EventType.PERMISSION_REQUESTED, other))
    assert [a.request_id for a in await approvals.page(world.org_id)] == ["r10"]


@pytest.mark.parametrize("status", [CommandStatus.DONE, CommandStatus.INTERRUPTED])
async def test_an_answer_that_may_have_reached_the_agent_is_not_given_again_though_its_result_came_late(
    world: World, status: CommandStatus
) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.PERMISSION_REQUESTED, ASK))
    (asked,) = await approvals.page(world.org_id)
    await approvals.answer(world.org_id, asked.id, "allow", "user:me")
    (command,) = (await box.poll()).commands
    again = await interrupted(world, box, work, 3, MESSAGE)
    await outcomes.finish(world.org_id, box.id, command.id, CommandResult(box.session, status))
    await world.send(again, 2, (EventType.PERMISSION_REQUESTED, ASK))
    assert (await box.poll()).commands == []
    assert [a.attempt for a in await approvals.page(world.org_id)] == [2]


async def test_a_question_that_only_an_earlier_attempt_asked_keeps_no_run_waiting(world: World) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.PERMISSION_REQUESTED, ASK))
    again = await interrupted(world, box, work, 3, MESSAGE)
    other = {**ASK, "request_id": "r2", "input": {"command": "make"}}
    await world.send(again, 2, (EventType.PERMISSION_REQUESTED, other))
    newest, _ = await approvals.page(world.org_id)
    await approvals.answer(world.org_id, newest.id, "allow", "user:me")
    assert (await world.run(work.run_id)).status == RunStatus.RUNNING


async def test_one_batch_may_tell_a_whole_attempt(world: World) -> None:
    box = await world.runner()
    await world.launch()
    work = (await box.poll()).assignments[0]
    beginning = (EventType.RUN_STARTED, (EventType.SESSION_INIT, {"session_id": "s1"}), MESSAGE)
    assert (await world.send(work, 1, *beginning, (EventType.RUN_FAILED, {"message": "no"}))).n == 4
    run = await world.run(work.run_id)
    assert (run.status, run.session_id, run.tries, run.attempt_open) == (RunStatus.FAILED, "s1", 1, False)
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.started_at <= run.ended_at


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_run_that_ends_asks_and_commands_nothing_any_more(world: World, *, at_once: bool) -> None:
    box, work = await started(world)
    ask, end = (EventType.PERMISSION_REQUESTED, ASK), (EventType.RUN_COMPLETED, {"text": "done"})
    await queue.say(world.org_id, work.run_id, "are you there?", "user:me")
    if at_once:
        await world.send(work, 2, ask, end)
    else:
        await world.send(work, 2, ask)
        await world.send(work, 3, end)
    assert (await world.run(work.run_id)).status == RunStatus.COMPLETED
    assert [a.status for a in await approvals.page(world.org_id, pending_only=False)] == ["withdrawn"]
    assert (await box.poll()).commands == []


class ListSink:
    """A watcher that remembers."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.chunks: list[bytes] = []
        self.room = room
        self.refused = 0

    def write(self, chunk: bytes) -> bool:
        if len(self.chunks) >= self.room:
            self.refused += 1
            return False
        self.chunks.append(chunk)
        return True

    async def drained(self) -> None:
        self.room = 1 << 30
        await asyncio.sleep(0)

    def close(self) -> None: ...

    def ids(self) -> list[int]:
        lines = b"".join(self.chunks).splitlines()
        return [int(line[4:]) for line in lines if line.startswith(b"id: ")]


async def test_every_watcher_gets_every_event_once_in_order_however_late_or_slow(world: World) -> None:
    _, work = await started(world)
    run = await world.run(work.run_id)
    sinks = [ListSink(), ListSink(room=2), ListSink()]
    tasks = [asyncio.create_task(feed.feeds().watch(run.no, run.id, 0, sink)) for sink in sinks]
    for n in range(2, 40):
        await world.send(work, n, MESSAGE)
        await asyncio.sleep(0.001)  # sending need not wait for anything; watchers get their turn here
        if n == 20:
            sinks.append(late := ListSink())
            tasks.append(asyncio.create_task(feed.feeds().watch(run.no, run.id, 3, late)))
    await world.send(work, 40, (EventType.RUN_COMPLETED, {"text": "done"}))
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    for sink in sinks[:3]:
        assert sink.ids() == list(range(1, 42))
    assert late.ids() == list(range(4, 42))
    assert sinks[1].refused > 0


async def test_a_watcher_gets_what_no_hint_told_of_with_the_next_reread(world: World) -> None:
    _, work = await started(world)
    run = await world.run(work.run_id)
    sink = ListSink()
    task = asyncio.create_task(feed.feeds().watch(run.no, run.id, 2, sink))
    await asyncio.sleep(0)
    async with asyncio.timeout(20 * PATIENCE):
        while not feed.feeds()._feeds[run.no]._live:  # noqa: ASYNC110 - it has caught up, and waits
            await asyncio.sleep(0.01)
    await database.commit(
        ingest._store(ingest._Arrived(world.org_id, run.id, batch(work, 2, 3), ["{}", "{}"], Hints()))
    )
    assert sink.ids() == []
    await feed.feeds().reread()
    await world.send(work, 4, (EventType.RUN_COMPLETED, {}))
    await asyncio.wait_for(task, 5)
    assert sink.ids() == [3, 4, 5]


def batch(work: Assignment, first: int, last: int) -> EventBatch:
    return EventBatch(work.attempt, work.lease, numbered(first, *[MESSAGE] * (last - first + 1)))


pieces = st.lists(
    st.tuples(st.integers(1, 25), st.integers(1, 8), st.sampled_from(["send", "send", "send", "forget"])), max_size=25
)


@pytest.fixture
def one_loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_duplicated_reordered_split_and_replayed_batches_make_the_same_log(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one_loop: asyncio.Runner
) -> None:
    """The runner's rule: send from what is stored. The server may lose its last commits (`forget`)."""
    url = request.getfixturevalue("migrated_postgres_url") if kind == "postgres" else ""
    world = one_loop.run(opened(Settings(data=tmp_path_factory.mktemp("ingest"), database_url=url)))
    box = one_loop.run(world.runner(max_pods=10_000))

    async def story(steps: list[tuple[int, int, str]]) -> None:
        box.held = []
        run = await world.launch()
        (work,) = [a for a in (await box.poll(hold=False)).assignments if a.run_id == run.id]
        await world.send(work, 1, EventType.RUN_STARTED)
        for first, length, what in steps:
            if what == "send":
                await ingest.ingest(world.org_id, run.id, batch(work, first, first + length - 1))
            else:
                await lose_last_commits(run.no, length)
        stored = (await world.send(work, 1, MESSAGE)).n
        if stored < 40:
            assert (await ingest.ingest(world.org_id, run.id, batch(work, stored + 1, 40))).n == 40
        rows = await database.fetch("SELECT seq, n FROM events WHERE run_no = $1 ORDER BY seq", run.no)
        assert [row["seq"] for row in rows] == list(range(1, 42))
        assert [row["n"] for row in rows][1:] == list(range(1, 41))
        await world.send(work, 41, (EventType.RUN_COMPLETED, {}))

    async def lose_last_commits(run_no: int, count: int) -> None:
        rows = await database.fetch("SELECT spool_n FROM runs WHERE no = $1", run_no)
        lost = min(count, rows[0]["spool_n"] - 1)
        await database.fetch("DELETE FROM events WHERE run_no = $1 AND n > $2", run_no, rows[0]["spool_n"] - lost)
        await database.fetch(
            "UPDATE runs SET spool_n = spool_n - $2, last_seq = last_seq - $2 WHERE no = $1", run_no, lost
        )

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(pieces)
    def property_(steps: list[tuple[int, int, str]]) -> None:
        one_loop.run(story(steps))

    try:
        property_()
    finally:
        one_loop.run(database.disconnect())
