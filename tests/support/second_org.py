"""A second org on a running server. Nothing makes one over HTTP yet, so it is written into the database."""

from __future__ import annotations

import secrets
import time
import uuid

from tests.support.cluster import Place, digest, new_org
from tests.support.http import Api


def second_org(server: Place) -> Api:
    """Return a caller with the full key of another org on the same server."""
    key, now = f"crl_live_{secrets.token_urlsafe(32)}", int(time.time() * 1000)
    org = server.sql(new_org("other"))
    server.sql(
        "INSERT INTO api_keys (id, org_id, name, prefix, hash, scopes, created_at) "
        f"VALUES ('{uuid.uuid4()}', {org}, 'k', 'crl', '{digest(key)}', '*', {now})"
    )
    return server.api(key)
