"""Secrets, without their values: no answer of Corral's ever holds one."""

from __future__ import annotations

import msgspec

from corral.runs.frames import moment
from corral.secrets.vault import Entry, Use


class SecretView(msgspec.Struct, rename="camel", kw_only=True):
    """A secret's name and whose it is."""

    key: str
    scope: str  #: org or agent
    agent_id: str | None
    updated_at: str
    version: int  #: counts the values that were stored by this name
    last_used_at: str | None
    last_used_by: str | None  #: run:<id>; or user:<id> or key:<id>, who had an MCP server tested with it


class UseView(msgspec.Struct, rename="camel", kw_only=True):
    """A secret was opened."""

    id: int
    key: str
    scope: str  #: org or agent
    agent_id: str | None  #: whose secret it is
    version: int
    used_by: str  #: as lastUsedBy of a secret
    attempt: int | None  #: of the run
    used_at: str


def secret_view(entry: Entry) -> SecretView:
    """Show a secret's name."""
    return SecretView(
        key=entry.key,
        scope=entry.scope,
        agent_id=entry.agent_id,
        updated_at=moment(entry.updated_at),
        version=entry.version,
        last_used_at=moment(entry.last_used_at) if entry.last_used_at is not None else None,
        last_used_by=entry.last_used_by,
    )


def use_view(use: Use) -> UseView:
    """Show a use."""
    return UseView(
        id=use.no,
        key=use.key,
        scope=use.scope,
        agent_id=use.agent_id,
        version=use.version,
        used_by=use.used_by,
        attempt=use.attempt,
        used_at=moment(use.used_at),
    )
