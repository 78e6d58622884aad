"""Three real servers on one PostgreSQL and one Redis, behind a proxy that sends each request to the next of them."""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from tests.support.balancer import Balancer
from tests.support.http import Api
from tests.support.postgres import Postgres
from tests.support.server import Server

SERVERS = 3


class Cluster:
    """The servers, each of which may be killed and started again, and the address that stands for all of them."""

    def __init__(
        self, folder: Path, postgres: Postgres, database_url: str, redis_url: str, env: Mapping[str, str] | None = None
    ) -> None:
        self.postgres = postgres
        self.database_url = database_url
        self.key = f"crl_live_{secrets.token_urlsafe(32)}"
        self.servers = [Server(folder / f"server{n}") for n in range(SERVERS)]
        self.balancer = Balancer([server.port for server in self.servers])
        self.url = self.balancer.url
        shared = {
            "CORRAL_BOOTSTRAP_KEY": self.key,
            "CORRAL_DATABASE_URL": database_url,
            "CORRAL_REDIS_URL": redis_url,
            "CORRAL_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "CORRAL_PUBLIC_URL": self.url,
            # As with SQLite, for which the tests that run on both were written.
            "CORRAL_PROVIDER_STDIO": "on",
            "CORRAL_PROVIDER_HOSTS": "*",
            **(env or {}),
        }
        for server in self.servers:
            server.key = self.key
            server.process.env.update(shared)

    def start(self) -> Cluster:
        """Start all of them at once, as a deployment does."""
        for server in self.servers:
            server.process.start()
        for server in self.servers:
            server.wait_healthy()
        return self

    def stop(self) -> None:
        self.balancer.stop()
        for server in self.servers:
            server.stop()

    def api(self, key: str | None = "") -> Api:
        """A caller with the full key of the first org, or the given one."""
        return Api(self.url, self.key if key == "" else key)

    def sql(self, statement: str) -> str:
        """Run a statement and return the first value of its first row."""
        database = self.database_url.rpartition("/")[2]
        return self.postgres.sql(statement, database).partition("\n")[0].partition("|")[0]

    def stored(self) -> bytes:
        """All that is in the database."""
        return self.postgres.dump(self.database_url)

    def output(self) -> str:
        """What the servers wrote to their logs."""
        return "".join(server.output() for server in self.servers)

    def tenant(self, name: str) -> Tenant:
        """An org of its own on these servers."""
        return Tenant(self, name)


class Tenant:
    """An org of a cluster, used as if it had the servers for itself."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.url = cluster.url
        self.sql, self.stored, self.output = cluster.sql, cluster.stored, cluster.output
        self.key = f"crl_live_{secrets.token_urlsafe(32)}"
        owner, now = uuid.uuid4(), int(time.time() * 1000)
        org = self.sql(new_org(name))
        self.sql(
            f"INSERT INTO users (id, org_id, name, role, created_at) VALUES ('{owner}', {org}, 'Owner', 'owner', {now})"
        )
        self.sql(
            "INSERT INTO api_keys (id, org_id, user_id, name, prefix, hash, scopes, created_at) VALUES "
            f"('{uuid.uuid4()}', {org}, '{owner}', 'bootstrap key', 'crl', '{digest(self.key)}', '*', {now})"
        )

    def api(self, key: str | None = "") -> Api:
        """A caller with the full key of this org, or the given one."""
        return Api(self.url, self.key if key == "" else key)


#: Where a test finds Corral.
Place = Server | Cluster | Tenant


def new_org(name: str) -> str:
    """The statement that makes an org and returns its id."""
    made = f"SELECT MAX(id) + 1, '{name}', {int(time.time() * 1000)} FROM orgs"
    return f"INSERT INTO orgs (id, name, created_at) {made} RETURNING id"


def digest(key: str) -> str:
    """What is stored of a key."""
    return sha256(key.encode()).hexdigest()
