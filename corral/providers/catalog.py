"""What models can do, as far as requests depend on it: how much they read and write, and how they think."""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec


class Thinking(StrEnum):
    """How an Anthropic model is asked to think."""

    NONE = "none"
    BUDGET = "budget"  #: with a number of tokens
    ADAPTIVE = "adaptive"  #: as much as it sees fit


class Model(msgspec.Struct, frozen=True):
    """What a model can do."""

    window: int  #: tokens of a request and its answer together
    most: int  #: tokens of an answer that are asked for; models may do more
    thinking: Thinking = Thinking.NONE


#: An answer is asked to be no longer than that, although newer models may write more.
_MOST = 32_000
_SMALL = Model(200_000, 8_192)
_CLAUDE_4 = Model(200_000, _MOST, Thinking.BUDGET)
_CLAUDE = Model(1_000_000, _MOST, Thinking.ADAPTIVE)
_KNOWN = (
    (r"claude-(3|instant)", _SMALL),
    (r"claude-[a-z]+-4(-[0-5])?(-20\d+)?$", _CLAUDE_4),
    (r"claude-[a-z]+-\d", _CLAUDE),
    (r"gpt-(5\.[4-9]|[6-9])(?!.*(mini|nano))", Model(1_050_000, _MOST)),
    (r"gpt-5", Model(400_000, _MOST)),
    (r"gpt-4\.1", Model(1_000_000, _MOST)),
    (r"o\d", Model(200_000, _MOST)),
    (r"gpt-", Model(128_000, 16_000)),
)
#: Of what is not known. A model whose window is smaller says so, and is then shown less.
_OTHER = Model(128_000, 8_192)
_REASONS = re.compile(r"o\d|gpt-(?!.*chat)([5-9]|\d\d)|codex")


def find(name: str) -> Model:
    """Return what a model can do, by its name, with or without the maker's before it."""
    own = _own(name)
    return next((model for pattern, model in _KNOWN if re.match(pattern, own)), _OTHER)


def reasons(name: str) -> bool:
    """Tell whether an OpenAI model can be asked for what it thought."""
    return _REASONS.match(_own(name)) is not None


def _own(name: str) -> str:
    """Return the name as the maker spells it: OpenRouter adds to it before and after, and dots."""
    own = name.rpartition("/")[2].partition(":")[0]
    return own.replace(".", "-") if own.startswith("claude") else own
