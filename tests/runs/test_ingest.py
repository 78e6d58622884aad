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
from corral.runs import feed, ingest, queue
from corral.usage import ledger
from corral.wire.events import EventBatch, EventType, RunnerEvent, Usage
from corral.wire.runs import RunStatus
from tests.runs.world import World, batch, opened, started

MESSAGE = EventType.AGENT_MESSAGE


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
