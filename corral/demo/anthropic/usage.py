"""What an answer costs: as its script says, else counted, the cache growing from turn to turn as a real one would."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from corral.demo.anthropic.request import ContentBlock, MessagesRequest, Tool
from corral.demo.conversation import Conversation
from corral.demo.play import output_tokens
from corral.demo.tokens import Usage, count
from corral.demo.turns import Turn

#: tokens at the end of a cached prompt that the cache doesn't cover
UNCACHED_TAIL = 3
IMAGE_TOKENS = 1500


def usage(request: MessagesRequest, turn: Turn, talk: Conversation) -> Usage:
    """What the whole answer costs."""
    read, write, plain = _input_tokens(request)
    fixed = turn.usage
    cache_write = write if fixed.cache_write is None else fixed.cache_write
    hourly = _cached_for_an_hour(request) and fixed.cache_write is None and fixed.cache_write_1h is None
    return Usage(
        input_tokens=plain if fixed.input is None else fixed.input,
        output_tokens=max(1, output_tokens(turn, talk)) if fixed.output is None else fixed.output,
        cache_read_tokens=read if fixed.cache_read is None else fixed.cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=cache_write if hourly else fixed.cache_write_1h or 0,
    )


def input_tokens(request: MessagesRequest) -> int:
    """All of a request, cached or not."""
    return sum(_input_tokens(request))


def _input_tokens(request: MessagesRequest) -> tuple[int, int, int]:
    """(cache read, cache write, neither). The former request's prompt was cached: all before the newest answer."""
    head = count(request.system_text) + sum(
        count(tool.name + tool.description + _json(tool.input_schema)) for tool in request.tools or []
    )
    sizes = [sum(_size(block) for block in message.blocks) for message in request.messages]
    total = max(1, head + sum(sizes))
    if not _caches(request):
        return 0, 0, total
    answers = [at for at, message in enumerate(request.messages) if message.role == "assistant"]
    read = min(total, head + sum(sizes[: answers[-1]])) if answers else 0
    tail = min(UNCACHED_TAIL, total - read)
    return read, total - read - tail, tail


def _size(block: ContentBlock) -> int:
    if block.type in ("image", "document"):
        return IMAGE_TOKENS
    own = count(block.text + block.thinking) + (count(_json(block.input)) if block.input else 0)
    if isinstance(block.content, list):
        return own + sum(_size(inner) for inner in block.content)
    return own + count(block.content or "")


def _caches(request: MessagesRequest) -> bool:
    return any(True for _ in _cache_controls(request))


def _cached_for_an_hour(request: MessagesRequest) -> bool:
    return any(control.get("ttl") == "1h" for control in _cache_controls(request))


def _cache_controls(request: MessagesRequest) -> Iterator[dict[str, object]]:
    blocks = [block for message in request.messages for block in message.blocks]
    if isinstance(request.system, list):
        blocks += request.system
    holders: list[ContentBlock | Tool] = [*blocks, *(request.tools or [])]
    for holder in holders:
        if holder.cache_control:
            yield holder.cache_control


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
