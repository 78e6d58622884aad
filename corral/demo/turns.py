"""What a script comes down to: turns, each a list of steps in the order they are played."""

from __future__ import annotations

import msgspec

#: how often a fault strikes when the script names no number: on every attempt
ALWAYS = 2**31


class Style(msgspec.Struct, frozen=True):
    """How a block is streamed. None: as the server was started."""

    pace: float | None = None  #: tokens a second; 0 is as fast as possible
    chunk: int | None = None  #: tokens a delta


class Say(msgspec.Struct, frozen=True, tag=True):
    """A text block; `{{result}}` and the other placeholders are filled in when it is played."""

    text: str
    style: Style = Style()


class Think(msgspec.Struct, frozen=True, tag=True):
    """A thinking block."""

    text: str
    style: Style = Style()


class Call(msgspec.Struct, frozen=True, tag=True):
    """One tool call. Several in one turn are parallel calls."""

    tool: str
    input: dict[str, object]
    style: Style = Style()


class Wait(msgspec.Struct, frozen=True, tag=True):
    """A pause. Before the first block it holds back the whole answer, headers included."""

    seconds: float


class Fail(msgspec.Struct, frozen=True, tag=True):
    """An API error: a status of its own before the first block, an `error` event after it."""

    status: int
    kind: str
    message: str
    times: int = ALWAYS
    retry_after: float | None = None  #: seconds, sent as the `retry-after` header


class Stall(msgspec.Struct, frozen=True, tag=True):
    """Nothing more comes until the client leaves."""

    times: int = ALWAYS


class Drop(msgspec.Struct, frozen=True, tag=True):
    """The connection is cut."""

    times: int = ALWAYS


Block = Say | Think | Call
Fault = Fail | Stall | Drop
Step = Block | Wait | Fault


class UsageSet(msgspec.Struct, frozen=True):
    """The token counts a script fixes for a turn. None: counted as usual."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None  #: all of it, whatever its lifetime
    cache_write_1h: int | None = None  #: the part of `cache_write` that lives an hour


class Turn(msgspec.Struct, frozen=True):
    """One answer of the model."""

    steps: tuple[Step, ...] = ()
    stop: str | None = None  #: stop reason; None: `tool_use` if there are calls, else `end_turn`
    usage: UsageSet = UsageSet()

    @property
    def stop_reason(self) -> str:
        if self.stop:
            return self.stop
        return "tool_use" if any(isinstance(step, Call) for step in self.steps) else "end_turn"


class Script(msgspec.Struct, frozen=True):
    """All turns of one prompt."""

    turns: tuple[Turn, ...]
    keep: bool = False  #: plain messages that follow don't end this script

    def turn(self, index: int) -> Turn:
        """The answer number `index`; one after the last is a short closing word."""
        return self.turns[index] if index < len(self.turns) else Turn((Say("Done."),))
