"""How a process has mail handled: several receivers at a time, none twice at a time, and as few times as will do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from corral.base import logs
from corral.base.logs import get_logger
from corral.bus import MailHandler

log = get_logger()

#: Receivers whose mail is handled at a time, and those that may wait for it before `room` says there is none.
_AT_A_TIME = 16
_WAITING = 256
#: Seconds that handlers get to end by themselves when the process does.
_GRACE = 2.0


class Mailroom:
    """Calls the handler for each receiver it is asked about, and tells how that ended.

    Who asks during a receiver's turn gets another turn after it, because the first may have looked too early.
    More who ask before that begins are served by it.
    """

    def __init__(self, handler: MailHandler, ended: Callable[[str, bytes, bool], None]) -> None:
        """Take the handler and who is told of each turn: the receiver, its hint, and whether all went well."""
        self._handler = handler
        self._ended = ended
        self._asked: dict[str, bytes] = {}  # receiver → the hint that asks for its next turn
        self._ready: deque[str] = deque()  # those of them whose turn may begin
        self._turns: dict[str, tuple[bytes, asyncio.Task[None]]] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._stopped = False

    def ask(self, receiver: str, hint: bytes = b"") -> bool:
        """Give `receiver` a turn that begins after now; False if one is due already, or none will be."""
        if self._stopped or receiver in self._asked:
            return False
        self._asked[receiver] = hint
        if receiver not in self._turns:
            self._ready.append(receiver)
        self._go_on()
        return True

    def hints(self) -> set[bytes]:
        """Return the hints whose turn goes on or is due."""
        return {*self._asked.values(), *(hint for hint, _ in self._turns.values())}

    async def room(self) -> None:
        """Wait until more may be asked for: what does not fit is better left to other servers."""
        await self._room.wait()

    async def stop(self) -> None:
        """Begin no more turns, let those that go on end, and cut off the ones that take too long."""
        self._stopped = True
        self._asked.clear()
        self._ready.clear()
        tasks = {task for _, task in self._turns.values()}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=_GRACE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _go_on(self) -> None:
        while self._ready and len(self._turns) < _AT_A_TIME:
            receiver = self._ready.popleft()
            hint = self._asked.pop(receiver)
            self._turns[receiver] = hint, asyncio.create_task(self._turn(receiver, hint))
        if len(self._asked) < _WAITING:
            self._room.set()
        else:
            self._room.clear()

    async def _turn(self, receiver: str, hint: bytes) -> None:
        logs.work_for(None)  # of whoever asked first, or last
        went_well = False
        try:
            await self._handler(receiver)
            went_well = True
        except Exception as error:
            log.exception("mail could not be handled", receiver=receiver, error=repr(error))
        finally:
            del self._turns[receiver]
            if receiver in self._asked:
                self._ready.append(receiver)
            self._ended(receiver, hint, went_well)
            self._go_on()
