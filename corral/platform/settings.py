"""The server's settings, each in this one table; `docs/operations.md` lists them for operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from corral.base.env import read, read_number
from corral.base.errors import BadRequest
from corral.platform.sign_on import options as sign_on
from corral.platform.sign_on.options import SignOn

#: Whose models agents may have without a machine.
PROVIDERS = ("anthropic", "openai", "openrouter")
#: No setting makes a line of the audit log live shorter, and the database refuses to delete it before.
AUDIT_DAYS_LEAST = 30
_TOKEN_LEAST = 16

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server process is told at its start."""

    data: Path  #: database, keys and lock of the embedded default; also the child runner's directory
    host: str = "127.0.0.1"
    port: int = 3000
    database_url: str = ""  #: empty is SQLite in the data directory
    redis_url: str = ""  #: empty is the bus of this process
    bootstrap_key: str = ""  #: the first org's full-scope key, if an operator wants to choose it
    secret_key: str = field(default="", repr=False)  #: base64 of the master key; empty: a file of the data directory
    rate_limit: int = 120  #: requests a minute a key; 0 is off
    plans: str = ""  #: a TOML file of plans; empty: one that limits nothing
    sync: str = "normal"  #: SQLite's `synchronous`: normal | full
    lost_after: float = 7200.0  #: seconds an unreachable runner may be away before its runs fail
    seal_days: float = 7.0  #: after so many days the log of a run that has ended is packed; 0: never
    events_days: float = 0.0  #: after so many it is let go; 0: never
    approval_ttl: float = 86400.0  #: seconds until an unanswered approval counts as denied
    audit_days: int = 0  #: days until a line of the audit log is deleted; 0 is never
    public_url: str = ""  #: how people reach this server, when a proxy is in front
    proxies: Sequence[Network] = ()  #: whose word on who calls is believed; empty: nobody's
    access_log: bool = False  #: a line of the log for each request
    metrics_token: str = field(default="", repr=False)  #: who sends it may read the metrics
    drain_seconds: float = 0.0  #: from the first signal, while it answers but is not ready, so that proxies leave
    provider_urls: Mapping[str, str] = field(default_factory=dict)  #: provider → its API, if not at its maker's
    provider_stdio: bool | None = None  #: whether commands of MCP servers are started here; None: if it is embedded
    provider_hosts: Sequence[str] = ()  #: what MCP servers may be at beside public hosts; empty: any if it is embedded
    provider_keys: Mapping[str, str] = field(default_factory=dict)  #: the demo's, where an org has stored none
    sign_on: SignOn | None = None  #: the OpenID provider that people may sign in with

    @property
    def is_embedded(self) -> bool:
        """Tell whether the database is the SQLite file of the data directory."""
        return not self.database_url

    @property
    def url(self) -> str:
        """Return the address to print for people, without a slash at its end."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - compared, not bound
        return self.public_url.rstrip("/") or f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def from_env(env: Mapping[str, str], *, data: Path, host: str | None = None, port: int | None = None) -> Settings:
    """Build the settings from `CORRAL_*` variables; the arguments are the command's flags and win."""
    sync = read(env, "CORRAL_SYNC", "normal").lower()
    if sync not in {"normal", "full"}:
        raise BadRequest(f"CORRAL_SYNC must be normal or full, not {sync!r}", field="CORRAL_SYNC")
    audit_days = int(read_number(env, "CORRAL_AUDIT_DAYS", 0))
    if 0 < audit_days < AUDIT_DAYS_LEAST:
        raise BadRequest(
            f"CORRAL_AUDIT_DAYS must be 0 (lines are kept for ever) or at least {AUDIT_DAYS_LEAST}",
            field="CORRAL_AUDIT_DAYS",
        )
    stdio = _switch(env, "CORRAL_PROVIDER_STDIO")
    token = read(env, "CORRAL_METRICS_TOKEN")
    if token and not (len(token) >= _TOKEN_LEAST and token.isascii() and token.isprintable() and " " not in token):
        raise BadRequest(
            f"CORRAL_METRICS_TOKEN must be at least {_TOKEN_LEAST} plain characters", field="CORRAL_METRICS_TOKEN"
        )
    return Settings(
        data=data,
        host=host or read(env, "CORRAL_HOST", "127.0.0.1"),
        port=port if port is not None else int(read_number(env, "CORRAL_PORT", 3000)),
        database_url=read(env, "CORRAL_DATABASE_URL"),
        redis_url=read(env, "CORRAL_REDIS_URL"),
        bootstrap_key=read(env, "CORRAL_BOOTSTRAP_KEY"),
        secret_key=read(env, "CORRAL_SECRET_KEY"),
        rate_limit=int(read_number(env, "CORRAL_RATE_LIMIT", 120)),
        plans=read(env, "CORRAL_PLANS"),
        sync=sync,
        lost_after=read_number(env, "CORRAL_LOST_AFTER", 7200.0),
        seal_days=read_number(env, "CORRAL_SEAL_DAYS", 7.0),
        events_days=read_number(env, "CORRAL_EVENTS_DAYS", 0.0),
        approval_ttl=read_number(env, "CORRAL_APPROVAL_TTL", 86400.0, least=1),
        audit_days=audit_days,
        public_url=read(env, "CORRAL_PUBLIC_URL"),
        proxies=_networks(read(env, "CORRAL_PROXIES")),
        provider_urls={name: url for name in PROVIDERS if (url := read(env, f"{name.upper()}_BASE_URL"))},
        access_log=_switch(env, "CORRAL_ACCESS_LOG") or False,
        metrics_token=token,
        drain_seconds=read_number(env, "CORRAL_DRAIN_SECONDS", 0.0),
        provider_stdio=stdio,
        provider_hosts=tuple(read(env, "CORRAL_PROVIDER_HOSTS").replace(",", " ").split()),
        sign_on=sign_on.from_env(env),
    )


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(one) for one in text.replace(",", " ").split())
    except ValueError as error:
        raise BadRequest(
            f"CORRAL_PROXIES must be networks, as 10.0.0.0/8, separated by commas: {error}", field="CORRAL_PROXIES"
        ) from error


def _switch(env: Mapping[str, str], name: str) -> bool | None:
    """Return whether it is on; None if nothing is said."""
    text = read(env, name).lower()
    if text not in {"", "on", "off"}:
        raise BadRequest(f"{name} must be on or off, not {text!r}", field=name)
    return text == "on" if text else None
