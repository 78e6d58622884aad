"""Plays a turn: parts of an answer, each when its time has come.

A face turns the parts into its provider's bytes. Nothing is yielded before the first block's time, so that an error,
a stall or a cut that stands first strikes before a byte is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import msgspec

from corral.demo.conversation import Conversation
from corral.demo.tokens import count, pieces
from corral.demo.turns import Block, Call, Drop, Fail, Fault, Say, Stall, Step, Style, Think, Turn, Wait

#: a stall ends after this long even if the client never leaves
STALL_SECONDS = 3600.0


class Begin(msgspec.Struct, frozen=True):
    """The answer starts."""


class Open(msgspec.Struct, frozen=True):
    """A block starts."""

    index: int
    block: Block


class Delta(msgspec.Struct, frozen=True):
    """More of the open block: text, or a piece of a call's input as JSON."""

    index: int
    block: Block
    text: str


class Close(msgspec.Struct, frozen=True):
    """The block is whole."""

    index: int
    block: Block


class End(msgspec.Struct, frozen=True):
    """The answer is whole."""

    stop_reason: str


Part = Begin | Open | Delta | Close | End


class Failed(Exception):
    """The script asks for an API error here."""

    def __init__(self, fail: Fail) -> None:
        super().__init__(fail.message)
        self.fail = fail


class Dropped(Exception):
    """The script asks for the connection to be cut here."""


async def play(turn: Turn, conversation: Conversation, attempt: int, default: Style) -> AsyncIterator[Part]:
    """The parts of one answer. `attempt` counts from 0 the requests for this very turn. Raises Failed and Dropped."""
    steps = due(turn.steps, attempt)
    begun = False
    for at, step in enumerate(steps):
        following = steps[at + 1] if at + 1 < len(steps) else None
        match step:
            case Wait():
                await asyncio.sleep(step.seconds)
            case Fail():
                raise Failed(step)
            case Drop():
                raise Dropped
            case Stall():
                await asyncio.sleep(STALL_SECONDS)
                raise Dropped
            case _:
                if not begun:
                    begun = True
                    yield Begin()
                index = sum(isinstance(earlier, Block) for earlier in steps[:at])
                async for part in _play_block(index, step, conversation, default):
                    yield part
                # Trouble in mid-stream strikes inside the block before it.
                if not isinstance(following, Fault):
                    yield Close(index, step)
    if not begun:
        yield Begin()
    yield End(turn.stop_reason)


def due(steps: Sequence[Step], attempt: int) -> list[Step]:
    """The steps of this attempt: faults that struck often enough are left out, in the order they stand."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Fault):
            if attempt >= step.times:
                attempt -= step.times
                continue
            kept.append(step)
            break
        kept.append(step)
    return kept


def content(block: Block, conversation: Conversation) -> str:
    """All of a block's text, a call's input as JSON."""
    match block:
        case Say() | Think():
            return conversation.fill(block.text)
        case Call():
            return json.dumps(_filled(block.input, conversation), ensure_ascii=False)


def output_tokens(turn: Turn, conversation: Conversation) -> int:
    """What the whole turn counts for."""
    return sum(count(content(step, conversation)) for step in turn.steps if isinstance(step, Block))


async def _play_block(index: int, block: Block, conversation: Conversation, default: Style) -> AsyncIterator[Part]:
    pace = block.style.pace if block.style.pace is not None else (default.pace or 0.0)
    chunk = block.style.chunk or default.chunk or (1 if pace else 16)
    yield Open(index, block)
    clock = asyncio.get_running_loop().time
    at = clock()
    for piece in pieces(content(block, conversation), chunk):
        if pace:
            # Against the clock, so that what each sleep takes too long doesn't add up.
            at += count(piece) / pace
            await asyncio.sleep(max(0.0, at - clock()))
        yield Delta(index, block, piece)


def _filled(value: object, conversation: Conversation) -> object:
    match value:
        case str():
            return conversation.fill(value)
        case list():
            return [_filled(item, conversation) for item in value]
        case dict():
            return {key: _filled(item, conversation) for key, item in value.items()}
        case _:
            return value
