"""Who speaks in a message? Clients put words of their own into a person's mouth, and a person's into their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from corral.demo.conversation import Message, ToolResult
from corral.demo.summary import answers_left_out

_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_INTERRUPTED = re.compile(r"\[Request interrupted by user[^\]]*\]")
_LIVE = re.compile(
    r"The user sent a new message while you were working:\n(.*?)(?=\n\nThis is how Claude Code|</system-reminder>|\Z)",
    re.DOTALL,
)
#: what it says as the user to make the model go on, and what a person says for the same
_GO_ON = re.compile(
    r"""
      Output\ token\ limit\ hit
    | Your\ response\ above\ was\ stopped
    | Your\ response\ was\ cut\ off
    | Your\ tool\ call\ was\ malformed
    | The\ previous\ response\ failed
    | \[Your\ previous\ response\ had
    | This\ session's\ worker\ process\ was\ restarted
    | (?:You\ were\ (?:interrupted|paused)\b[^\n]*\.\ )?continue\b[^\n]*\bleft\ off
    | continue[.!]?\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)
#: what it says as the model, after a session that broke off
_NOTHING_SAID = "No response requested."


def tell_apart(role: str, text: str, results: tuple[ToolResult, ...]) -> Iterator[Message]:
    """The messages that one message really is, each with the words of its speaker alone."""
    if role == "assistant":
        if text.strip() != _NOTHING_SAID:
            yield Message("assistant", text)
        return
    if answers := answers_left_out(text):
        yield Message("system", text, answers=answers)
        return
    reminders = text if role == "system" else "\n".join(_REMINDER.findall(text))
    if role == "user":
        said = _INTERRUPTED.sub("", _REMINDER.sub("", text)).strip()
        # What comes with tool results was sent while the tools ran.
        yield Message("user", said, results, aside=bool(results) or bool(_GO_ON.match(said)))
    if reminders:
        yield Message("system", _LIVE.sub("", reminders))
    for said in _LIVE.findall(reminders):
        yield Message("user", said.strip(), aside=True)
