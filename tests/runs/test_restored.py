"""A restored database begins nothing by itself: machines may have begun it, or done it, after the backup."""

from __future__ import annotations

import asyncio

import pytest

from corral.base.errors import LeaseLost
from corral.platform import audit, database
from corral.platform.audit import Only
from corral.runs import leases, pausing, restored
from corral.runs.models import Run
from corral.wire.events import EventType
from corral.wire.runner import Assignment, CommandKind
from corral.wire.runs import RunStatus
from tests.runs.world import Machine, World

STARTED = (EventType.RUN_STARTED, {"runner": "box"})
INIT = (EventType.SESSION_INIT, {"session_id": "s-1"})
SAID = (EventType.AGENT_MESSAGE, {"text": "so far"})
DONE = (EventType.RUN_COMPLETED, {"text": "done"})
CUT = (EventType.SESSION_INTERRUPTED, {"message": "restarted"})


async def restore(servers: int = 1) -> None:
    """What `corral restore` leaves in the database, and what the first start on it does, of so many servers."""
    await database.fetch("CREATE TABLE restored (made_at TEXT NOT NULL)")
    await database.fetch("INSERT INTO restored VALUES ('2026-05-04T03:02:01.000+00:00')")
    await asyncio.gather(*(restored.settle() for _ in range(servers)))


async def at_work(world: World, box: Machine) -> tuple[Run, Assignment]:
    run = await world.launch()
    (work,) = (await box.poll()).assignments
    await world.send(work, 1, STARTED, INIT, SAID)
    return run, work


async def test_what_was_queued_is_paused_and_says_why_until_a_person_lets_it_go_on(world: World) -> None:
    run = await world.launch()
    await restore()
    run = await world.run(run.id)
    assert run.status == RunStatus.PAUSED
    assert "restored as it was on 2026-05-04 at 03:02 UTC" in (run.reason or "")
    box = await world.runner()
    assert (await box.poll()).assignments == []
    await pausing.continue_by(world.org_id, run.id, None, "user:me")
    assert [one.run_id for one in (await box.poll()).assignments] == [run.id]


async def test_every_org_is_told_so_in_its_audit_log_once_however_many_servers_start(world: World) -> None:
    await database.fetch("INSERT INTO orgs (id, name, created_at) VALUES (77, 'other', 0)")
    await restore(servers=3)
    await restored.settle()
    for org_id in (world.org_id, 77):
        (line,) = await audit.page(org_id, Only(action="database.restored"), limit=10)
        assert (line.actor, line.detail) == ("operator", {"as_of": "2026-05-04T03:02:01.000+00:00"})


async def test_it_is_done_once_and_again_only_if_it_was_cut_off(world: World) -> None:
    run = await world.launch()
    await restore()
    await pausing.continue_by(world.org_id, run.id, None, "user:me")
    await restored.settle()
    assert (await world.run(run.id)).status == RunStatus.QUEUED


async def test_an_attempt_that_its_machine_still_has_goes_on_to_its_end(world: World) -> None:
    box = await world.runner()
    run, work = await at_work(world, box)
    await restore()
    run = await world.run(run.id)
    assert (run.status, pausing.is_asked_of(run)) == (RunStatus.RUNNING, False)
    await box.register()  # it had registered anew since the backup, so the server knew none of its sessions
    answer = await box.poll()
    assert (answer.assignments, answer.lost, answer.commands) == ([], [], [])
    await world.send(work, 4, DONE)
    assert (await world.run(run.id)).status == RunStatus.COMPLETED


async def test_one_that_ended_since_is_offered_again_and_ends_as_the_spool_says(world: World) -> None:
    box = await world.runner()
    run, work = await at_work(world, box)
    await restore()
    box.held.clear()  # the server it knew has all of it
    await box.register()
    (again,) = (await box.poll(hold=False)).assignments
    assert (again.run_id, again.attempt, again.lease, again.stored_n) == (run.id, 1, work.lease, 3)
    await world.send(work, 4, DONE)
    run = await world.run(run.id)
    assert (run.status, run.attempt) == (RunStatus.COMPLETED, 1)
    assert (await box.poll()).assignments == []


async def test_one_that_was_cut_off_since_is_paused_and_not_begun_again(world: World) -> None:
    box = await world.runner()
    run, work = await at_work(world, box)
    await restore()
    box.held.clear()
    await box.poll(hold=False)
    await world.send(work, 4, CUT)
    run = await world.run(run.id)
    assert (run.status, run.attempt_open) == (RunStatus.PAUSED, False)
    assert '"restored"' in (run.reason or "")
    assert (await box.poll()).assignments == []
    await pausing.continue_by(world.org_id, run.id, None, "user:me")
    (resumed,) = (await box.poll()).assignments
    assert (resumed.attempt, resumed.session_id) == (2, "s-1")


async def test_one_that_is_too_old_to_be_in_a_spool_is_paused(world: World) -> None:
    box = await world.runner()
    run, _ = await at_work(world, box)
    await database.fetch("UPDATE runs SET claimed_at = claimed_at - 86400000")
    await restore()
    box.held.clear()
    assert (await box.poll()).assignments == []
    assert (await world.run(run.id)).status == RunStatus.PAUSED


async def test_a_later_attempt_that_the_server_does_not_know_is_taken_from_its_machine(world: World) -> None:
    box = await world.runner()
    run, work = await at_work(world, box)
    await restore()
    box.held = [type(box.held[0])(run.id, 2, "a-lease-of-later")]
    answer = await box.poll(hold=False)
    assert answer.lost == box.held
    assert [one.attempt for one in answer.assignments] == [1]  # what became of this one, its spool says
    await world.send(work, 4, CUT)
    assert (await world.run(run.id)).status == RunStatus.PAUSED
    with pytest.raises(LeaseLost):
        await world.send(work, 5, DONE)


@pytest.mark.parametrize("has_started", [True, False])
async def test_one_whose_machine_never_comes_back_is_paused_in_the_end(world: World, *, has_started: bool) -> None:
    box = await world.runner()
    run = await world.launch()
    (work,) = (await box.poll()).assignments
    if has_started:
        await world.send(work, 1, STARTED, INIT, SAID)
    await restore()
    await world.age_runner(box, 100)
    await leases.run_once(0)
    await leases.run_once(-1)
    run = await world.run(run.id)
    assert (run.status, run.attempt_open) == (RunStatus.PAUSED, False)


async def test_a_person_may_still_pause_and_cancel_what_goes_on(world: World) -> None:
    box = await world.runner()
    run, work = await at_work(world, box)
    await restore()
    await pausing.pause_by(world.org_id, run.id, "user:me")
    await pausing.pause_by(world.org_id, run.id, "user:me")
    assert [one.kind for one in (await box.poll()).commands] == [CommandKind.PAUSE]
    await world.send(work, 4, (EventType.RUN_PAUSED, {"code": "paused"}))
    run = await world.run(run.id)
    assert run.status == RunStatus.PAUSED
    assert '"paused"' in (run.reason or "")
