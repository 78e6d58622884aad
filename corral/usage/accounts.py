"""Whom a run's lines are counted for, fixed when it is queued, so that no report has to look anything up."""

from __future__ import annotations

import msgspec


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """The agent, team, task and epic a run worked for, and the key and person who paid for it."""

    agent_id: str | None = None
    team: str | None = None
    task_id: str | None = None
    tree_id: str | None = None  #: the task at the top of that one's tree
    epic_id: str | None = None
    key_id: str | None = None  #: at the beginning: a delegated run counts for whoever gave the first task
    user_id: str | None = None  #: likewise; of a key its owner
    labels: tuple[str, ...] = ()


def encode(account: Account) -> str:
    """Return what a run's row keeps."""
    return msgspec.json.encode(account).decode()


def decode(text: str | None, agent_id: str | None = None) -> Account:
    """Return a run's account; of a run queued before there were accounts only the agent is known."""
    return _decode(text) if text is not None else Account(agent_id=agent_id)


_decode = msgspec.json.Decoder(Account).decode
