"""Which turn answers a conversation: of the prompt's own script, or of the newcomer's answer."""

from __future__ import annotations

from corral.demo import newcomer, script
from corral.demo.conversation import Conversation
from corral.demo.turns import Turn


def next_turn(talk: Conversation) -> Turn:
    """The answer to give now. Raises ScriptError."""
    chosen = script.parse(talk.prompt) if script.holds_script(talk.prompt) else newcomer.answer(talk)
    return chosen.turn(talk.turn)
