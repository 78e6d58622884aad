"""Secrets, without their values: no answer of Corral's ever holds one."""

from __future__ import annotations

import msgspec

from corral.runs.frames import moment
from corral.secrets.vault import Entry


class SecretView(msgspec.Struct, rename="camel", kw_only=True):
    """A secret's name and whose it is."""

    key: str
    scope: str  #: org or agent
    agent_id: str | None
    updated_at: str
    version: int  #: counts the values that were stored by this name
    last_used_at: str | None
    last_used_by: str | None  #: run:<id>; or user:<id> or key:<id>, who had an MCP server tested with it


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
