"""What a conversation is made of, in no provider's shape. An entry is stored once it has happened; it never changes."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Stop(StrEnum):
    """Why a model's answer ended."""

    END = "end"  #: it has said what it had to say
    CALLS = "calls"  #: it waits for the results of its calls
    LENGTH = "length"  #: it reached the most tokens it may answer with
    PAUSED = "paused"  #: the provider took a break: ask again, with nothing added
    REFUSED = "refused"


class Prompt(msgspec.Struct, frozen=True, tag_field="is", tag="prompt"):
    """What somebody told the agent."""

    text: str
    starts: bool = False  #: it is what a run, a follow-up or a continuation began with: limits count from here
    key: str = ""  #: the same for the same message, should it be given twice
    input: int = 0  #: which of the run's inputs it is (`wire.runner.Message.input`)


class Call(msgspec.Struct, frozen=True):
    """A tool the model wants to use."""

    id: str
    name: str
    input: msgspec.Raw  #: a JSON object, or what the model wrote in its place


class Answer(msgspec.Struct, frozen=True, tag_field="is", tag="answer"):
    """What the model answered."""

    provider: str
    model: str
    text: str
    calls: tuple[Call, ...]
    stop: Stop
    native: msgspec.Raw  #: what the provider wants to see again, unchanged
    seen: int  #: the newest entry that the model had seen: what was said after it is still to be heard
    context: int = 0  #: tokens of all that it read and wrote
    cost_micros: int = 0


class Result(msgspec.Struct, frozen=True, tag_field="is", tag="result"):
    """What a call gave back."""

    call_id: str
    text: str
    is_error: bool = False


class Summary(msgspec.Struct, frozen=True, tag_field="is", tag="summary"):
    """What stands for all entries before `kept`, because they would not fit into the model's window any more."""

    kept: int  #: the first entry that stays
    text: str  #: empty if they were merely left out
    answers: int  #: how many answers it stands for, since `task` if that is there
    task: str | None = None  #: the newest `starts` prompt, word for word, if it is among them
    cost_micros: int = 0


Entry = Prompt | Answer | Result | Summary


class Turn(msgspec.Struct, frozen=True):
    """An answer with the results of its calls, as providers want to see it."""

    answer: Answer
    results: tuple[Result, ...] = ()


#: A conversation as a provider is shown it.
View = list[Prompt | Turn]
