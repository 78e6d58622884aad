"""How does this process end? Signals: drain, then cancel, then force. The end of our parent's pipe: interrupt."""

from __future__ import annotations

import asyncio
import os
import signal
from enum import IntEnum

from corral.base.logs import get_logger

log = get_logger()


class Phase(IntEnum):
    """What the daemon does; it only ever goes forward."""

    RUN = 0
    DRAIN = 1  #: finish what is here, take nothing new
    CANCEL = 2  #: end what is here, gently
    INTERRUPT = 3  #: end what is here so that the next start can resume it
    FORCE = 4  #: end what is here at once


_TOLD = {
    Phase.DRAIN: "finishing the runs that are here; again to cancel them",
    Phase.CANCEL: "cancelling the runs that are here; again to kill them",
    Phase.INTERRUPT: "interrupting the runs that are here; the next start resumes them",
    Phase.FORCE: "killing the runs that are here",
}


class Stopping:
    """The phase, and what moves it forward."""

    def __init__(self) -> None:
        """Begin to run."""
        self.phase = Phase.RUN
        self.changed = asyncio.Event()

    def listen(self, control_fd: int | None) -> None:
        """Watch signals, and our parent's pipe if there is one."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.again)
        if control_fd is not None:
            os.set_inheritable(control_fd, False)
            os.set_blocking(control_fd, False)
            loop.add_reader(control_fd, self._read, control_fd)

    def again(self) -> None:
        """A signal came: one step further."""
        steps = {Phase.RUN: Phase.DRAIN, Phase.DRAIN: Phase.CANCEL}
        self.advance(steps.get(self.phase, Phase.FORCE))

    def advance(self, phase: Phase) -> None:
        """Go on to `phase`; never back."""
        if phase > self.phase:
            self.phase = phase
            log.info("stopping", now=_TOLD[phase])
            self.changed.set()

    def _read(self, fd: int) -> None:
        try:
            if os.read(fd, 1024):
                return
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("the parent's pipe broke", error=str(error))
        asyncio.get_running_loop().remove_reader(fd)
        self.advance(Phase.INTERRUPT)
