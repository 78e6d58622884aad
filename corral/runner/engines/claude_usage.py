"""What an attempt cost: Claude Code's running sums → ledger lines that are deltas.

A result carries the session's sums (across turns and resumes) and, beside them, what was spent since the last result
of this process. The latter is what we want: per model, sub-agents and side requests included. Until a result comes we
only hold what the stream said of each message; if the attempt is cut first, that is counted instead, as an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from corral.wire.events import Usage

_CHARACTERS_A_TOKEN = 4


class _Message(msgspec.Struct):
    """A message of the model whose turn has no result yet."""

    model: str
    usage: dict[str, Any]
    streamed: bool
    characters: int = 0
    is_whole: bool = False  #: its stream came to its end


class Meter:
    """One attempt's spending. Feed it every raw message in order."""

    def __init__(self, attempt: int, *, resumed: bool) -> None:
        """Take the attempt's number, which begins every source, and whether the session had a life before."""
        self.cost_usd = 0.0
        self._attempt = attempt
        self._turn = 0
        self._open: dict[str, _Message] = {}
        self._settled: frozenset[str] = frozenset()  #: messages of the turn before, which may still say something
        self._costs: dict[str, tuple[float, int]] = {}  #: model → dollars, and millionths told so far
        #: The session's sums at the last result; None while a resumed session's are unknown.
        self._sums: Mapping[str, Mapping[str, Any]] | None = None if resumed else {}

    def watch(self, raw: Mapping[str, Any]) -> Usage | None:
        """Note what a message says it used; the last word on a message replaces the ones before.

        Returns what counts of it should nothing more be heard of it: we may be killed long before its turn ends.
        """
        name = ""
        if raw.get("type") == "assistant":
            name = self._note_whole(raw["message"])
        elif raw.get("type") == "stream_event":
            name = self._note_streamed(raw)
        message = self._open.get(name)
        line = self._estimate(name, message) if message is not None else None
        return line if line is not None and _tokens(line) else None

    def settle(self, result: Mapping[str, Any]) -> list[Usage]:
        """Return a finished turn's lines, one a model."""
        self._turn += 1
        spent = self._spent(result)
        if spent is None:
            return self.cut()
        longest: dict[str, int] = {}
        cut: set[str] = set()  #: models an answer of which was broken off: its counts are the stream's last
        for message in self._open.values():
            longest[message.model] = max(longest.get(message.model, 0), _asked(message))
            if message.streamed and not message.is_whole:
                cut.add(message.model)
        self._forget_open()
        lines = [
            msgspec.structs.replace(self._line(model, sums), longest=longest.get(model, 0), estimated=model in cut)
            for model, sums in spent.items()
        ]
        return [line for line in lines if line.cost_micros or _tokens(line)]

    def cut(self) -> list[Usage]:
        """Return a line for each message whose turn has not told its sums: what the stream said last."""
        lines = [self._estimate(name, message) for name, message in self._open.items()]
        self._forget_open()
        return [line for line in lines if _tokens(line)]

    def _forget_open(self) -> None:
        self._settled = frozenset(self._open)
        self._open.clear()

    def _estimate(self, name: str, message: _Message) -> Usage:
        return Usage(
            source=f"{self._attempt}/message-{name}",
            model=message.model,
            input_tokens=message.usage.get("input_tokens") or 0,
            output_tokens=_output(message),
            cache_read_tokens=message.usage.get("cache_read_input_tokens") or 0,
            cache_write_tokens=message.usage.get("cache_creation_input_tokens") or 0,
            estimated=True,
        )

    def _note_streamed(self, raw: Mapping[str, Any]) -> str:
        """The start of a message, or its last counts; return its name if it was either."""
        event = raw.get("event") or {}
        if event.get("type") == "message_start":
            started = event["message"]
            self._open[started["id"]] = _Message(started.get("model", ""), dict(started.get("usage") or {}), True)
            return str(started["id"])
        if event.get("type") == "message_delta" and (message := self._open.get(raw.get("api_message_id", ""))):
            message.is_whole = bool((event.get("delta") or {}).get("stop_reason"))
            message.usage |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
            return str(raw["api_message_id"])
        return ""

    def _note_whole(self, message: Mapping[str, Any]) -> str:
        """A block of a message; return the name of one that was not streamed to us (a sub-agent's)."""
        if message.get("model") == "<synthetic>" or not message.get("id") or message["id"] in self._settled:
            return ""
        noted = self._open.get(message["id"])
        if noted is None:
            noted = _Message(message.get("model", ""), dict(message.get("usage") or {}), False)
            self._open[message["id"]] = noted
        noted.characters += sum(len(str(_said(block))) for block in message.get("content") or [])
        return "" if noted.streamed else str(message["id"])

    def _spent(self, result: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]] | None:
        """What this result adds, by model; None if it cannot be told from what went before."""
        sums: Mapping[str, Mapping[str, Any]] = result.get("modelUsage") or {}
        before, self._sums = self._sums, sums
        since: Mapping[str, Mapping[str, Any]] | None = result.get("model_usage_since_last_result")
        if since is not None:
            return since
        if before is None:
            return None
        return {model: _difference(now, before.get(model) or {}) for model, now in sums.items()}

    def _line(self, model: str, spent: Mapping[str, Any]) -> Usage:
        dollars = spent.get("costUSD") or 0.0
        self.cost_usd += dollars
        # Rounding the running sum, not each delta, keeps the lines' sum right.
        total, told = self._costs.get(model, (0.0, 0))
        micros = round((total + dollars) * 1_000_000) - told
        self._costs[model] = (total + dollars, told + micros)
        return Usage(
            source=f"{self._attempt}/turn-{self._turn}/{model}",
            model=model,
            input_tokens=spent.get("inputTokens") or 0,
            output_tokens=spent.get("outputTokens") or 0,
            cache_read_tokens=spent.get("cacheReadInputTokens") or 0,
            cache_write_tokens=spent.get("cacheCreationInputTokens") or 0,
            cost_micros=micros if "costUSD" in spent else None,
        )


def _difference(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "costUSD")
    return {name: max(0, (now.get(name) or 0) - (before.get(name) or 0)) for name in names}


def _said(block: Mapping[str, Any]) -> Any:
    return block.get("text") or block.get("thinking") or block.get("input") or ""


def _output(message: _Message) -> int:
    """The stream's last word; without a stream the CLI says 1 for any length, so the text has to tell."""
    said = message.usage.get("output_tokens") or 0
    return said if message.streamed else max(said, message.characters // _CHARACTERS_A_TOKEN)


def _asked(message: _Message) -> int:
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(message.usage.get(name) or 0 for name in names)


def _tokens(line: Usage) -> int:
    return line.input_tokens + line.output_tokens + line.cache_read_tokens + line.cache_write_tokens
