"""A client whose conversation grows too long asks for a summary to go on with. No script moves for it."""

from __future__ import annotations

import re

_ASKED = "create a detailed summary of"
_SUMMARY = "<summary>The conversation so far, as a scripted model sums it up.</summary>"
#: How Corral's own agents say what stands in place of earlier answers.
_LEFT_OUT = re.compile(r"\[Corral: [^\]]*?(\d+) earlier answers?\b")


def summary(newest: str) -> str | None:
    """The summary, if the newest words of the client ask for one."""
    return _SUMMARY if _ASKED in newest else None


def answers_left_out(text: str) -> int:
    """How many answers a client says it left out: a script goes on as if they were there."""
    found = _LEFT_OUT.match(text)
    return int(found[1]) if found else 0
