"""The script language: directives in a prompt that say what the model answers.

A directive is a line that starts with `%name`. ` %% ` inside a line stands for a line break, so that a whole script
fits on one. Prose before the first directive is for people; so are lines after a directive that takes one line.

    Please count the files.
    %think I should list them first.
    %tool Bash {"command": "ls | wc -l"}
    %say There are {{result}} files.

What the model answers, block by block:

    %say TEXT          a text block; goes on over the following lines, up to the next directive
    %think TEXT        a thinking block, likewise
    %words N           a text block of N words
    %lines N           a text block of N numbered lines
    %tool NAME JSON    a tool call with that input (JSON may span lines; none is {}); next to each other: parallel calls
    %bash COMMAND      short for %tool Bash {"command": COMMAND}

Turns. Whatever follows tool calls is the next turn, answered after their results; so is what follows a %stop:

    %next              ends the turn (between two tool calls that must not be parallel)
    %repeat N … %end   those turns N times
    %end               outside a %repeat: the script ends, the rest is prose
    %keep              later messages without directives don't end this script (live messages, resumes)

How it is streamed, from here to the end of the script:

    %pace N            N tokens a second; 0 is as fast as possible
    %chunk N           N tokens a delta

Trouble, where it stands in the turn: before the first block it strikes before any byte, later in mid-stream. `xN` is
the number of attempts it strikes at (every one without it); the next attempts pass.

    %wait SECONDS                      a pause
    %error STATUS [TYPE] [xN] [retry-after=S] [MESSAGE]
    %stall [xN]                        nothing more, until the client leaves
    %drop [xN]                         the connection is cut

How the turn ends:

    %stop REASON                       stop reason: max_tokens, refusal, …
    %usage in=N out=N read=N write=N write1h=N
                                       exact token counts (input, output, cache read, cache write), those named

Placeholders in texts and in tool inputs: `{{result}}` (the newest tool results), `{{user}}` (the newest prose of a
person), `{{turn}}` (1, 2, …), `{{cwd}}`, `{{plan_file}}`
(where Claude Code wants a plan written), `{{model}}`. `{{{result}}}` becomes `{{result}}`.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from corral.demo import filler
from corral.demo.turns import (
    ALWAYS,
    Call,
    Drop,
    Fail,
    Fault,
    Say,
    Script,
    Stall,
    Step,
    Style,
    Think,
    Turn,
    UsageSet,
    Wait,
)

NAMES = frozenset(
    "say think words lines tool bash next repeat end keep pace chunk wait error stall drop stop usage".split()
)

#: a script this long is a mistake in a %repeat
MAX_TURNS = 10_000

_DIRECTIVE = re.compile(r"(?:\A|\n|[ \t]%%(?=[ \t\r\n]))[ \t]*%([a-z]+)(?![\w%])[ \t]*")
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class ScriptError(ValueError):
    """A directive that can't be read; says which and what it takes."""


def holds_script(text: str) -> bool:
    """Whether the text has a directive at all."""
    return any(match[1] in NAMES for match in _DIRECTIVE.finditer(text))


def prose(text: str) -> str:
    """What stands before the first directive: the part of a prompt meant for people."""
    for match in _DIRECTIVE.finditer(text):
        if match[1] in NAMES:
            return text[: match.start()].strip()
    return text.strip()


def parse(text: str) -> Script:
    """The turns of a text that holds a script. Raises ScriptError."""
    return _Parser(text).parse()


def error_type(status: int) -> str:
    """The type name that goes with an HTTP status."""
    return _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = len(text) - len(text.lstrip())
        self.name = ""
        self.turns: list[Turn] = []
        self.steps: list[Step] = []
        self.stop: str | None = None
        self.usage = UsageSet()
        self.style = Style()
        self.keep = False
        self.loops: list[tuple[int, int]] = []  # (times, index of the first turn)

    def parse(self) -> Script:
        started = False
        while match := _DIRECTIVE.search(self.text, self.pos):
            self.name, self.pos = match[1], match.end()
            if not started and self.name not in NAMES:
                continue
            started = True
            if self.name not in NAMES:
                self._refuse(f"there is no such directive; there are {', '.join('%' + name for name in sorted(NAMES))}")
            if self.name == "end" and not self.loops:
                break
            getattr(self, f"_{self.name}")()
        if self.loops:
            self.name = "repeat"
            self._refuse("its %end is missing")
        self._close_turn()
        return Script(tuple(self.turns), self.keep)

    # Blocks

    def _say(self) -> None:
        self._block(Say(self._text(), self.style))

    def _think(self) -> None:
        self._block(Think(self._text(), self.style))

    def _words(self) -> None:
        self._block(Say(filler.words(self._count()), self.style))

    def _lines(self) -> None:
        self._block(Say(filler.lines(self._count()), self.style))

    def _bash(self) -> None:
        self._block(Call("Bash", {"command": self._line()}, self.style))

    def _tool(self) -> None:
        name = re.compile(r"[\w.:/-]+").match(self.text, self.pos)
        if name is None:
            self._refuse('takes a tool\'s name and its input, as in %tool Bash {"command": "ls"}')
        self.pos = name.end()
        self._block(Call(name[0], self._json(), self.style))

    def _block(self, block: Say | Think | Call) -> None:
        if not isinstance(block, Call):
            self._leave_ended()
        elif self.stop:
            self._close_turn()
        self.steps.append(block)

    def _leave_ended(self) -> None:
        """What follows tool calls or a %stop belongs to the next turn."""
        if self.stop or any(isinstance(step, Call) for step in self.steps):
            self._close_turn()

    # Turns

    def _next(self) -> None:
        self._line()
        self._close_turn()

    def _repeat(self) -> None:
        self._close_turn()
        self.loops.append((self._count(), len(self.turns)))

    def _end(self) -> None:
        self._line()
        self._close_turn()
        times, first = self.loops.pop()
        body = self.turns[first:]
        if first + len(body) * times > MAX_TURNS:
            self._refuse(f"makes more than {MAX_TURNS} turns")
        self.turns[first:] = body * times

    def _keep(self) -> None:
        self._line()
        self.keep = True

    def _close_turn(self) -> None:
        if self.steps or self.stop or self.usage != UsageSet():
            self.turns.append(Turn(tuple(self.steps), self.stop, self.usage))
        self.steps, self.stop, self.usage = [], None, UsageSet()

    # Streaming

    def _pace(self) -> None:
        self.style = Style(self._number(), self.style.chunk)

    def _chunk(self) -> None:
        self.style = Style(self.style.pace, max(1, self._count()))

    # Trouble

    def _wait(self) -> None:
        self._trouble(Wait(self._number()))

    def _error(self) -> None:
        words = self._line().split()
        if not words or not words[0].isdigit() or not 400 <= int(words[0]) <= 599:
            self._refuse("takes a status from 400 to 599, as in %error 529 x2")
        status, kind, times, retry_after, message = int(words[0]), "", ALWAYS, None, ""
        for at, word in enumerate(words[1:], start=1):
            if re.fullmatch(r"x\d+", word):
                times = int(word[1:])
            elif re.fullmatch(r"retry-after=\d+(\.\d+)?", word):
                retry_after = float(word.partition("=")[2])
            elif re.fullmatch(r"[a-z]+(_[a-z]+)+", word):
                kind = word
            else:
                message = " ".join(words[at:])
                break
        kind = kind or error_type(status)
        self._trouble(Fail(status, kind, message or f"Scripted {kind}", times, retry_after))

    def _stall(self) -> None:
        self._trouble(Stall(self._times()))

    def _drop(self) -> None:
        self._trouble(Drop(self._times()))

    def _trouble(self, step: Wait | Fault) -> None:
        self._leave_ended()
        self.steps.append(step)

    # Endings

    def _stop(self) -> None:
        reason = self._line()
        if not re.fullmatch(r"[a-z_]+", reason):
            self._refuse("takes a stop reason, as in %stop max_tokens")
        self.stop = reason

    def _usage(self) -> None:
        fields = {
            "in": "input",
            "out": "output",
            "read": "cache_read",
            "write": "cache_write",
            "write1h": "cache_write_1h",
        }
        values: dict[str, int] = {}
        for word in self._line().split():
            name, _, value = word.partition("=")
            if name not in fields or not value.isdigit():
                self._refuse("takes counts, as in %usage in=3 out=20 read=1000 write=200 write1h=0")
            values[fields[name]] = int(value)
        self.usage = UsageSet(**values)

    # Values

    def _text(self) -> str:
        """Everything up to the next directive; at least something."""
        following = _DIRECTIVE.search(self.text, self._before_break())
        end = following.start() if following else len(self.text)
        value = self.text[self.pos : end].strip()
        self.pos = end
        if not value:
            self._refuse("takes a text")
        return value

    def _line(self) -> str:
        """The rest of the line."""
        following = re.compile(r"\n|[ \t]%%(?=[ \t\r\n])").search(self.text, self._before_break())
        end = following.start() if following else len(self.text)
        value = self.text[self.pos : end].strip()
        self.pos = end
        return value

    def _before_break(self) -> int:
        """A value may be empty: then the blank before ` %% ` was eaten with the directive's name."""
        return self.pos - 1 if self.text[self.pos - 1] in " \t" else self.pos

    def _json(self) -> dict[str, object]:
        start = re.compile(r"\s*").match(self.text, self.pos)
        at = start.end() if start else self.pos
        if at >= len(self.text) or self.text[at] != "{":
            if rest := self._line():
                self._refuse(f"takes a JSON object as input, not {rest[:60]!r}")
            return {}
        try:
            value, self.pos = json.JSONDecoder(strict=False).raw_decode(self.text, at)
        except ValueError as error:
            self._refuse(f"has an input that is not JSON: {error}")
        if rest := self._line():
            self._refuse(f"has something after its input: {rest[:60]!r}")
        assert isinstance(value, dict)
        return value

    def _number(self) -> float:
        value = self._line()
        if not re.fullmatch(r"\d+(\.\d+)?", value):
            self._refuse(f"takes a number, not {value[:60]!r}")
        return float(value)

    def _count(self) -> int:
        value = self._line()
        if not value.isdigit() or int(value) > 10_000_000:
            self._refuse(f"takes a whole number, not {value[:60]!r}")
        return int(value)

    def _times(self) -> int:
        value = self._line()
        if not value:
            return ALWAYS
        if not re.fullmatch(r"x\d+", value):
            self._refuse(f"takes nothing or a number of times as x2, not {value[:60]!r}")
        return int(value[1:])

    def _refuse(self, why: str) -> NoReturn:
        raise ScriptError(f"%{self.name} {why}")
