"""What both APIs' requests come down to: who said what, piece by piece → a conversation, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from corral.demo import voices
from corral.demo.conversation import Conversation, Message, ToolResult
from corral.demo.play import output_tokens
from corral.demo.summary import summary
from corral.demo.tokens import Usage, count
from corral.demo.turns import Turn

#: What an image counts for, however large.
IMAGE_TOKENS = 1500


class Piece(msgspec.Struct, frozen=True):
    """One thing of a request: words, a call, or what a call gave back."""

    role: Literal["user", "assistant", "system"]
    text: str = ""
    size: int = 0
    calls: tuple[str, ...] = ()  #: ids of the calls it makes
    answers: str | None = None  #: the id of the call whose result it is


class Request(msgspec.Struct, frozen=True):
    """A request of either API, in the shape of neither."""

    session: str
    model: str
    pieces: tuple[Piece, ...]
    tools: tuple[str, ...] = ()
    head: int = 0  #: tokens of the tools and of what else stands before the first piece
    system: str = ""
    stream: bool = False

    def conversation(self) -> Conversation:
        return Conversation(self.session, self.model, tuple(_messages(self.pieces)), self.tools, self.system)


def usage(request: Request, turn: Turn, talk: Conversation) -> Usage:
    """What the whole answer costs: as its script says, else counted. What the former request asked was cached."""
    newest = _newest_answer(request.pieces)
    read = request.head + sum(piece.size for piece in request.pieces[:newest]) if newest else 0
    plain = max(1, sum(piece.size for piece in request.pieces[newest:]) + (0 if newest else request.head))
    fixed = turn.usage
    return Usage(
        input_tokens=plain if fixed.input is None else fixed.input,
        output_tokens=max(1, output_tokens(turn, talk)) if fixed.output is None else fixed.output,
        cache_read_tokens=read if fixed.cache_read is None else fixed.cache_read,
        cache_write_tokens=fixed.cache_write or 0,
    )


def side_answer(request: Request) -> str | None:
    """The answer to what is asked beside the conversation, or None if it is a turn of it."""
    newest = next((piece.text for piece in reversed(request.pieces) if piece.role == "user"), "")
    return summary(newest)


def size(*texts: str) -> int:
    """The tokens of texts."""
    return sum(count(text) for text in texts)


def _newest_answer(pieces: Sequence[Piece]) -> int:
    """Where the newest answer begins; 0 if there is none."""
    at = max((at for at, piece in enumerate(pieces) if piece.role == "assistant"), default=0)
    while at and pieces[at - 1].role == "assistant":
        at -= 1
    return at


def _messages(pieces: Sequence[Piece]) -> Iterator[Message]:
    """One message for each answer, and one for its results with whatever was said while the tools ran."""
    order: dict[str, int] = {}
    for is_answer, group in groupby(pieces, key=lambda piece: piece.role == "assistant"):
        said = list(group)
        if is_answer:
            yield from voices.tell_apart("assistant", _joined(said), ())
            order = {call: at for at, call in enumerate(call for piece in said for call in piece.calls)}
            continue
        # Parallel tools answer in any order; a script must see always the same one: that of the calls.
        results = [piece for piece in said if piece.answers is not None]
        results.sort(key=lambda piece: order.get(piece.answers or "", 0))
        words = [piece for piece in said if piece.answers is None]
        if results:
            aside = [piece for piece in words if piece.role == "user"]
            yield from voices.tell_apart("user", _joined(aside), tuple(ToolResult(piece.text) for piece in results))
            words = [piece for piece in words if piece.role != "user"]
        for piece in words:
            yield from voices.tell_apart(piece.role, piece.text, ())


def _joined(pieces: Sequence[Piece]) -> str:
    return "\n".join(piece.text for piece in pieces if piece.text)
