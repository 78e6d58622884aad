"""The turns of an attempt: ask the model, keep its answer, carry out its calls, and again until it has nothing to call.

Each step is stored before the next begins, with the events that tell of it: whoever goes on after a crash repeats
neither an answer nor a call that finished.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from corral.base.backoff import Backoff
from corral.base.logs import get_logger
from corral.base.redactor import Redactor
from corral.platform.database import Unit
from corral.providers import catalog, limits
from corral.providers.conversation import Conversation
from corral.providers.entries import Answer, Call, Prompt, Result, Stop
from corral.providers.hearing import Heard, usage_line
from corral.providers.journal import Event, Journal
from corral.providers.limits import Clocks
from corral.providers.provider import TOO_LONG, Ask, Provider, Reply, Spent, Trouble, clean, measured
from corral.providers.tools import CUT_OFF, Tools
from corral.providers.window import SUMMARISE, Window
from corral.wire import purse
from corral.wire.events import EventType, Usage
from corral.wire.prices import Book
from corral.wire.purse import Purse
from corral.wire.runner import Assignment, Pause

#: How often a request is sent again, and the pauses where the provider names none.
MOST_RETRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
#: How often in a row an answer may be cut off at its limit of tokens.
_MOST_CUT = 3
_GO_ON = (
    "[Corral: your answer was cut off at the limit of its length. Go on right where it stopped, in smaller pieces.]"
)
#: How often who waits for money looks whether it has come.
_LOOK_SECONDS = 0.05

log = get_logger()


class Ending(Exception):
    """Whoever is told something now is told too late."""


class Broke(Exception):
    """The attempt has spent what it was given."""

    def __init__(self, pause: Pause) -> None:
        """Take why the run pauses."""
        super().__init__(pause.message)
        self.pause = pause


class Loop:
    """The conversation of one attempt."""

    def __init__(
        self,
        assignment: Assignment,
        talk: Conversation,
        provider: Provider,
        *,
        tools: Tools,
        journal: Journal,
        clocks: Clocks,
        book: Book,
        money: Purse,
    ) -> None:
        """Take what the attempt works with; nothing is asked yet."""
        assert assignment.model is not None
        self.talk = talk
        self._work = assignment
        self._model: str = assignment.model
        self._provider = provider
        self._tools = tools
        self._journal = journal
        self._clocks = clocks
        self._book = book
        self._purse = money
        self._can = catalog.find(self._model)
        self._window = Window(self._can, assignment.system_prompt or "", tools.specs)
        self._began = time.monotonic()
        self._keeping = asyncio.Lock()  #: entries come one after the other
        self._is_ending = False
        self._asked = 0  #: requests of this attempt: each has a ledger line of its own
        self._cut = 0  #: answers in a row that reached their limit
        self._heard: Heard | None = None  #: the answer that comes now
        journal.so_far = lambda: self._heard.lines() if self._heard is not None else ()

    async def run(self) -> None:
        """Go on until the end is stored. Raises Trouble, Broke, LeaseLost."""
        await self._settle()
        while not await self._is_over():
            limits.check(self._work.limits, self.talk)
            await self._tools.renew()
            await self._make_room()
            reply, seen = await self._ask_with_room()
            if await self._keep(reply, seen):
                return
            await self._carry_out(self.talk.open_calls())

    async def hear(self, prompt: Prompt, also: Callable[[], Unit[None]]) -> None:
        """Take what somebody says; it is stored when this returns, with `also`. Ending: it comes too late."""
        async with self._keeping:
            if self._is_ending:
                raise Ending
            entries = () if self.talk.has(prompt.key) else (prompt,)
            await self._journal.write(entries=entries, talk=self.talk, also=also)

    def unfinished(self) -> list[Usage]:
        """Return what the answer that was cut off has cost so far."""
        heard, self._heard = self._heard, None
        return heard.lines() if heard is not None else []

    def result(self, *, subtype: str = "success", text: str = "", last: Answer | None = None) -> Event:
        """Return how the attempt went, in numbers; `last` is an answer that is about to be stored."""
        micros = self.talk.cost_micros() + (last.cost_micros if last else 0)
        return EventType.RUN_RESULT, {
            "text": text,
            "turns": self.talk.turns() + (last is not None),
            "duration_seconds": round(time.monotonic() - self._began, 3),
            "cost_usd": micros / 1_000_000,
            "subtype": subtype,
            "is_error": subtype != "success",
            "session_id": self.talk.session_id,
        }

    # Where a predecessor stopped

    async def _settle(self) -> None:
        """Carry out what may be carried out twice, and say of the rest that nobody knows how it ended."""
        is_new = any(prompt.starts for prompt in self.talk.unheard())
        again = []
        for call in self.talk.open_calls():
            if self._tools.is_own(call.name) and not is_new:
                again.append(call)
            else:
                await self._keep_result(call, Result(call.id, CUT_OFF, is_error=True))
        await self._carry_out(again)

    async def _is_over(self) -> bool:
        """Store the end if the model had said all before this attempt began."""
        answer = self.talk.newest_answer()
        if answer is None or answer.calls or answer.stop not in {Stop.END, Stop.REFUSED}:
            return False
        async with self._keeping:
            if self.talk.unheard():
                return False
            if answer.stop == Stop.REFUSED:
                raise _refused(answer, self._journal.redactor)
            self._is_ending = True
            await self._journal.write(self._end(answer.text))
        return True

    # A turn

    async def _ask_with_room(self) -> tuple[Reply, int]:
        try:
            return await self._ask()
        except Trouble as error:
            if error.code != TOO_LONG:
                raise
            # The window is smaller than we thought, and there is none left to sum up in.
            self._window.learn(self.talk)
            if not await self._let_go(summarise=False):
                raise
        return await self._ask()

    async def _ask(self) -> tuple[Reply, int]:
        """Return the next answer, and the newest entry it has seen."""
        seen = self.talk.newest
        ask = Ask(
            model=self._model,
            system=self._work.system_prompt or "",
            view=self.talk.view(),
            tools=self._tools.specs,
            most=self._can.most,
            session_id=self.talk.session_id,
            call_ids=frozenset(self.talk.call_ids()),
        )
        return await self._answer(ask, f"turn-{self.talk.turns() + 1}", is_shown=True), seen

    async def _answer(self, ask: Ask, what: str, *, is_shown: bool) -> Reply:
        """Ask, and ask again for as long as the provider lets us."""
        backoff, retries = Backoff(FIRST_PAUSE, LONGEST_PAUSE), 0
        while True:
            await self._pay()
            self._asked += 1
            source = f"{self._work.attempt}/{what}"
            heard = Heard(self._model, f"{source}/cut-{self._asked}", self._window.used(self.talk))
            if is_shown:
                heard.show(self._journal)
            heard.clocks = self._clocks
            self._heard = heard
            try:
                with self._clocks.listening(), measured(self._provider.name):
                    reply = await self._provider.answer(ask, heard)
            except Trouble as error:
                cut = self.unfinished()
                if not error.may_pass or retries >= MOST_RETRIES:
                    if cut:
                        await self._journal.write(usage=cut)
                    raise
                retries += 1
                pause = backoff.next() if error.retry_after is None else error.retry_after
                await self._tell_retry(error, retries, pause, cut)
                await asyncio.sleep(pause)
            else:
                self._heard = None
                heard.end()
                return reply

    async def _pay(self) -> None:
        """Return if there is money for an answer; it may still come within a moment. Raises Broke."""
        deadline = time.monotonic() + purse.PATIENCE_SECONDS
        while (pause := self._purse.pause()) is not None:
            if time.monotonic() >= deadline:
                raise Broke(pause)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _tell_retry(self, error: Trouble, attempt: int, pause: float, cut: Sequence[Usage]) -> None:
        told = {
            "message": f"{error.message}; retry {attempt} of {MOST_RETRIES} in {pause:.1f} s",
            "status": error.status,
            "attempt": attempt,
            "delay_seconds": pause,
        }
        await self._journal.write([(EventType.SESSION_RETRY, told)], usage=cut)

    async def _keep(self, reply: Reply, seen: int) -> bool:
        """Store an answer, and the end with it if it is the last one; returns whether it is."""
        line = self._line(f"turn-{self.talk.turns() + 1}", reply.spent)
        events = list(self._events(reply))
        stop = Stop.END if reply.stop == Stop.CALLS and not reply.calls else reply.stop
        answer = Answer(
            provider=self._provider.name,
            model=self._model,
            text=clean(reply.text),
            calls=tuple(reply.calls),
            stop=stop,
            native=reply.native,
            seen=seen,
            context=reply.spent.asked + reply.spent.output_tokens,
            cost_micros=self._book.counted([line]),
        )
        self._cut = self._cut + 1 if stop in {Stop.LENGTH, Stop.PAUSED} else 0
        trouble: Trouble | None = None
        more: list[Prompt] = []
        if stop == Stop.REFUSED:
            trouble = _refused(answer, self._journal.redactor)
        elif self._cut > _MOST_CUT:
            trouble = Trouble("answer_too_long", "The model's answers were cut off again and again", "Ask for less.")
        elif stop == Stop.LENGTH and not reply.calls:
            more = [Prompt(_GO_ON)]
        async with self._keeping:
            is_last = not reply.calls and stop == Stop.END and self.talk.newest == seen
            if is_last:
                self._is_ending = True
                events += self._end(answer.text, answer)
            await self._journal.write(events, entries=[answer, *more], talk=self.talk, usage=[line])
        if trouble is not None:
            raise trouble
        return is_last

    def _events(self, reply: Reply) -> Iterable[Event]:
        for words in reply.words:
            told: dict[str, Any] = {"text": words.text, "parent_tool_use_id": None, "block": words.block}
            if words.is_thought:
                yield EventType.AGENT_THINKING, told
            else:
                yield EventType.AGENT_MESSAGE, {**told, "model": self._model, "message_id": reply.id}
        for call in reply.calls:
            yield (
                EventType.AGENT_TOOL_CALL,
                {"tool_use_id": call.id, "name": call.name, "input": call.input, "parent_tool_use_id": None},
            )

    def _end(self, text: str, last: Answer | None = None) -> list[Event]:
        completed = {"text": text, "inputs": self.talk.inputs()}
        return [self.result(text=text, last=last), (EventType.RUN_COMPLETED, completed)]

    # Calls

    async def _carry_out(self, calls: Sequence[Call]) -> None:
        """Carry calls out at the same time, and keep each result as soon as it is there."""
        most = self._window.most_characters(len(calls))
        tasks = [asyncio.create_task(self._call(call, most)) for call in calls]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, call: Call, most: int) -> None:
        await self._keep_result(call, await self._tools.call(call, most))

    async def _keep_result(self, call: Call, result: Result) -> None:
        told = {
            "tool_use_id": call.id,
            "name": call.name,
            "output": result.text,
            "is_error": result.is_error,
            "parent_tool_use_id": None,
        }
        async with self._keeping:
            await self._journal.write([(EventType.AGENT_TOOL_RESULT, told)], entries=[result], talk=self.talk)

    # The window

    async def _make_room(self) -> None:
        if self._window.is_full(self.talk):
            await self._let_go(summarise=True)

    async def _let_go(self, *, summarise: bool) -> bool:
        """Put a summary in the place of the oldest turns; False if there are none to go."""
        kept = self._window.first_kept(self.talk)
        if kept is None:
            return False
        text, lines = await self._sum_up() if summarise else ("", [])
        summary = self.talk.summarised(kept, text, self._book.counted(lines))
        message = f"{summary.answers} earlier answers outgrew the model's window and were " + (
            "summed up" if text else "left out"
        )
        told = {"message": message, "summary": text}
        async with self._keeping:
            await self._journal.write(
                [(EventType.SESSION_COMPACTED, told)], entries=[summary], talk=self.talk, usage=lines
            )
        return True

    async def _sum_up(self) -> tuple[str, list[Usage]]:
        """Ask the model what to keep in mind; nothing if it does not say."""
        what = f"turn-{self.talk.turns() + 1}/summary"
        ask = Ask(
            model=self._model,
            system=self._work.system_prompt or "",
            view=[*self.talk.view(), Prompt(SUMMARISE)],
            tools=self._tools.specs,  # the same as ever, so that the provider finds all of it in its cache
            most=self._can.most,
            session_id=self.talk.session_id,
        )
        try:
            reply = await self._answer(ask, what, is_shown=False)
        except Trouble as error:
            if error.code != TOO_LONG:
                raise
            return "", []
        return clean(reply.text), [self._line(what, reply.spent)]

    def _line(self, what: str, spent: Spent) -> Usage:
        return usage_line(f"{self._work.attempt}/{what}/{self._model}", self._model, spent)


def _refused(answer: Answer, redactor: Redactor) -> Trouble:
    return Trouble("model_refused", "The model refused to go on", redactor.text(answer.text)[:1000])
