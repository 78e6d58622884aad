"""The outbox against servers that answer anything: what ends up stored is what was reported, once and in order."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.runner import outbox as outbox_module
from corral.runner import spool
from corral.runner.client import Client, Refused, Retryable
from corral.runner.outbox import Outbox
from corral.wire.events import Drafts, EventBatch, EventsStored, EventType, Usage
from corral.wire.runner import Held
from tests.runner.conftest import until
from tests.support.waiting import PATIENCE

#: What happens to a POST: stored and answered; lost on the way; stored, but its answer lost; the server loses power.
MISFORTUNES = st.lists(st.sampled_from(["ok", "ok", "lost", "unanswered", "power cut", "refused"]), max_size=25)


class Server:
    def __init__(self, misfortunes: list[str]) -> None:
        self.misfortunes = misfortunes
        self.stored: list[str] = []
        self.usage: set[str] = set()
        self.is_cut_to = 0  #: so many events were left by the last power cut
        self.commits: list[tuple[list[str], set[str]]] = [([], set())]  #: what was there after each of them

    async def send(self, run_id: str, batch: EventBatch) -> EventsStored:
        await asyncio.sleep(0)
        fate = self.misfortunes.pop(0) if self.misfortunes else "ok"
        if fate == "lost":
            raise Retryable("no answer")
        if fate == "refused" and len(batch.events) > 1:
            raise Refused("too large", status=413)
        if fate == "power cut":  # it takes the last commits, each as a whole
            del self.commits[len(self.commits) // 2 + 1 :]
            self.stored, self.usage = list(self.commits[-1][0]), set(self.commits[-1][1])
            self.is_cut_to = len(self.stored)
        for event in batch.events:
            if event.n == len(self.stored) + 1:
                self.stored.append(json.loads(bytes(event.payload))["text"])
        self.usage |= {usage.source for usage in batch.usage}
        self.commits.append((list(self.stored), set(self.usage)))
        if fate == "unanswered":
            raise Retryable("no answer")
        return EventsStored(len(self.stored))


@given(st.integers(0, 12), MISFORTUNES, st.integers(1, 5))
@settings(max_examples=50)
def test_whatever_befalls_the_posts_everything_is_stored_once_and_in_order(
    count: int, misfortunes: list[str], most: int
) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as name:
            server = Server(misfortunes)
            made = spool.create(Path(name), Held("run", 1, "lease"))
            sender = Outbox(made, cast("Client", server))
            sender._backoff.first = sender._backoff.most = 0.0
            sender.start()
            for number in range(count):
                sender.event(EventType.AGENT_MESSAGE, json.dumps({"text": f"{number}"}).encode())
                sender.usage(Usage(f"{number}", "m"))
                if number % 3 == 0:
                    await asyncio.sleep(0)
            sender.event(EventType.RUN_COMPLETED, b'{"text":"end"}')
            await asyncio.wait_for(sender.delivered.wait(), 20 * PATIENCE)
            assert server.stored == [*map(str, range(count)), "end"]
            assert server.usage == set(map(str, range(count)))
            assert spool.is_closed(made.path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outbox_module, "MOST_EVENTS", most)
        asyncio.run(story())


@given(st.integers(0, 6), MISFORTUNES)
@settings(max_examples=30)
def test_a_restart_sends_what_is_missing_wherever_the_server_is(count: int, misfortunes: list[str]) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as name:
            server = Server(misfortunes)
            made = spool.create(Path(name), Held("run", 1, "lease"))
            for number in range(count):
                made.append(EventType.AGENT_MESSAGE, json.dumps({"text": f"{number}"}).encode())
            made.append(EventType.SESSION_INTERRUPTED, b'{"text":"end"}')
            server.stored = [str(number) for number in range(count // 2)]
            made.release()
            again = spool.load(made.path)
            assert again is not None
            sender = Outbox(again, cast("Client", server))
            sender._backoff.first = sender._backoff.most = 0.0
            sender.start()
            await asyncio.wait_for(sender.delivered.wait(), 20 * PATIENCE)
            assert server.stored == [*map(str, range(count)), "end"]

    asyncio.run(story())


class Ledger(Server):
    """A server that also counts: lines once, and drafts as they were told last.

    A power cut that takes the events they came with takes them as well. One that takes only them shows less until the
    next ones are told; nobody keeps them for that.
    """

    def __init__(self, misfortunes: list[str]) -> None:
        super().__init__(misfortunes)
        self.told = Drafts(0)
        self._told_after = 0  #: so many events

    async def send(self, run_id: str, batch: EventBatch) -> EventsStored:
        fate = self.misfortunes[0] if self.misfortunes else "ok"
        try:
            return await super().send(run_id, batch)
        finally:
            if fate == "power cut" and self.is_cut_to < self._told_after:
                self.told = Drafts(0)
            if fate != "lost" and not (fate == "refused" and len(batch.events) > 1):
                self._note(batch)

    def _note(self, batch: EventBatch) -> None:
        if batch.drafts is not None and batch.drafts.at > self.told.at:
            self.told, self._told_after = batch.drafts, len(self.stored)
        turns = {source.partition("/")[0] for source in self.usage}
        assert not {line.source.partition("/")[0] for line in self.told.lines} & turns  # never both


@given(st.lists(st.sampled_from(["say", "draft", "draft", "settle"]), max_size=25), MISFORTUNES)
@settings(max_examples=60)
def test_the_server_knows_of_each_message_by_its_draft_or_by_its_turn_and_never_by_both(
    done: list[str], misfortunes: list[str]
) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as name:
            server = Ledger(misfortunes)
            sender = Outbox(spool.create(Path(name), Held("run", 1, "lease")), cast("Client", server))
            sender._backoff.first = sender._backoff.most = 0.0
            sender.start()
            turn = 0
            open_: dict[str, Usage] = {}
            for number, what in enumerate(done):
                if what == "say":
                    sender.event(EventType.AGENT_MESSAGE, json.dumps({"text": f"{number}"}).encode())
                elif what == "settle":
                    sender.usage(Usage(f"{turn}/turn", "m", output_tokens=number, estimated=number % 2 == 0))
                    turn, open_ = turn + 1, {}
                else:
                    draft = Usage(f"{turn}/message-{number % 3}", "m", output_tokens=number, estimated=True)
                    open_[draft.source] = draft
                    sender.draft(draft)
                if number % 3 == 0:
                    await asyncio.sleep(0)
            await until(lambda: sender._next == sender.spool.count and sender._drafted == sender.spool.drafted)
            assert {line.source: line for line in server.told.lines} == open_
            sender.spool.settle()
            sender.event(EventType.RUN_COMPLETED, b'{"text":"end"}')
            await asyncio.wait_for(sender.delivered.wait(), 20 * PATIENCE)
            assert server.usage == {f"{one}/turn" for one in range(turn)} | set(open_)

    asyncio.run(story())


async def test_a_server_that_takes_no_drafts_gets_everything_else(folder: Path) -> None:
    class Old(Server):
        async def send(self, run_id: str, batch: EventBatch) -> EventsStored:
            if batch.drafts is not None:
                raise Refused("Object contains unknown field `drafts`", status=400)
            return await super().send(run_id, batch)

    server = Old([])
    sender = Outbox(spool.create(folder, Held("run", 1, "lease")), cast("Client", server))
    sender.draft(Usage("1/message-a", "m", output_tokens=1, estimated=True))
    sender.event(EventType.AGENT_MESSAGE, b'{"text":"said"}')
    sender.start()
    sender.event(EventType.RUN_COMPLETED, b'{"text":"end"}')
    await asyncio.wait_for(sender.delivered.wait(), 20 * PATIENCE)
    assert server.stored == ["said", "end"]


async def test_an_event_that_the_server_refuses_does_not_keep_drafts_from_it(folder: Path) -> None:
    class Strict(Server):
        told: Drafts | None = None

        async def send(self, run_id: str, batch: EventBatch) -> EventsStored:
            if any(b"bad" in bytes(event.payload) for event in batch.events):
                raise Refused("events[0].payload is not a question", status=400)
            self.told = batch.drafts or self.told
            for event in batch.events:
                self.stored.append(event.type)
            return EventsStored(len(self.stored))

    server = Strict([])
    sender = Outbox(spool.create(folder, Held("run", 1, "lease")), cast("Client", server))
    sender.draft(Usage("1/message-a", "m", output_tokens=1, estimated=True))
    sender.event(EventType.PERMISSION_REQUESTED, b'{"text":"bad"}')
    sender.start()
    await until(lambda: server.stored == [EventType.AGENT_NEEDS_ATTENTION])
    await until(lambda: server.told is not None)
    sender.draft(Usage("1/message-b", "m", output_tokens=1, estimated=True))
    await until(lambda: server.told is not None and len(server.told.lines) == 2)
    await sender.stop()
