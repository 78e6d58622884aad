"""How full the model's window is, and what goes when it is: the oldest, in favour of a summary."""

from __future__ import annotations

import msgspec

from corral.providers.catalog import Model
from corral.providers.conversation import Conversation
from corral.providers.entries import Answer, Prompt, Turn
from corral.wire.tools import ToolSpec

#: Fewer than there are in English, so that code and other languages are not taken for shorter than they are.
_CHARACTERS_A_TOKEN = 3
#: Parts of the room for what is read: when it is full, what stays at a summary, what the results of one turn may take.
_FULL, _STAYS, _RESULTS = 0.85, 0.3, 0.4
#: Characters of a result that are kept at least, and at most.
_SHORTEST, _LONGEST = 1_000, 100_000

SUMMARISE = (
    "[Corral: this conversation is about to outgrow your context window.] Call no tools now. Instead create a detailed "
    "summary of it, for yourself, to go on from with nothing else at hand: what you were asked, what was decided and "
    "why, what was done, with names, paths, ids and numbers, what was found out, what is still open, and what you "
    "would do next."
)


class Window:
    """The window of an attempt's model."""

    def __init__(self, model: Model, system: str, tools: list[ToolSpec]) -> None:
        """Take what each request holds beside the conversation."""
        self.room = max(model.window - model.most, model.window // 4)  #: for what is read
        self._head = _tokens(len(system) + sum(len(msgspec.json.encode(tool)) for tool in tools))

    def is_full(self, talk: Conversation) -> bool:
        """Tell whether the next request is to be smaller."""
        return self.used(talk) > _FULL * self.room

    def used(self, talk: Conversation) -> int:
        """Return about how many tokens the next request has."""
        said = talk.since_measured()
        if said is not None:
            measured, since = said
            return measured + sum(_size(step) for step in since)
        return self._head + sum(_size(step) for step in talk.view())

    def first_kept(self, talk: Conversation) -> int | None:
        """Return the index of the first entry that stays when the oldest go; None if nothing can go."""
        steps = talk.steps()
        left = _STAYS * min(self.room, self.used(talk))
        at = len(steps)
        while at > 0:
            left -= _size(steps[at - 1][1])
            if left < 0 and any(isinstance(step, Turn) for _, step in steps[at:]):
                break
            at -= 1
        if not any(isinstance(step, Turn) for _, step in steps[:at]):
            return None
        return min(idx for idx, _ in steps[at:]) if at < len(steps) else None

    def learn(self, talk: Conversation) -> None:
        """The provider says that a request was too long: the window is smaller than we thought."""
        self.room = min(self.room, int(self.used(talk) * 0.9))

    def most_characters(self, calls: int) -> int:
        """Return how long each of so many results may be."""
        most = int(_RESULTS * self.room * _CHARACTERS_A_TOKEN / max(1, calls))
        return max(_SHORTEST, min(_LONGEST, most))


def _size(step: Prompt | Turn | Answer) -> int:
    match step:
        case Prompt():
            return _tokens(len(step.text))
        case Turn():
            return _size(step.answer) + _tokens(sum(len(result.text) for result in step.results))
        case Answer():
            return _tokens(len(step.native))


def _tokens(characters: int) -> int:
    return characters // _CHARACTERS_A_TOKEN + 4
