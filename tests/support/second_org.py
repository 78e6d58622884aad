"""A second org on a running server. Nothing makes one over HTTP yet, so it is written into the SQLite file."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
import uuid

from tests.support.http import Api
from tests.support.server import Server


def second_org(server: Server) -> Api:
    """Return a caller with the full key of another org on the same server."""
    key, now = f"crl_live_{secrets.token_urlsafe(32)}", int(time.time() * 1000)
    with sqlite3.connect(server.data / "corral.db", timeout=10) as database:
        org = database.execute(
            "INSERT INTO orgs (name, created_at) VALUES ('other', ?) RETURNING id", (now,)
        ).fetchone()
        database.execute(
            "INSERT INTO api_keys (id, org_id, name, prefix, hash, scopes, created_at) "
            "VALUES (?, ?, 'k', 'crl', ?, '*', ?)",
            (str(uuid.uuid4()), org[0], hashlib.sha256(key.encode()).hexdigest(), now),
        )
    database.close()
    return server.api(key)
