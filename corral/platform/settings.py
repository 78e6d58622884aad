"""The server's settings, each in this one table; `docs/operations.md` lists them for operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corral.base.env import read, read_number
from corral.base.errors import BadRequest

#: Whose models agents may have without a machine.
PROVIDERS = ("anthropic", "openai", "openrouter")
#: No setting makes a line of the audit log live shorter, and the database refuses to delete it before.
AUDIT_DAYS_LEAST = 30


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
    sync: str = "normal"  #: SQLite's `synchronous`: normal | full
    lost_after: float = 7200.0  #: seconds an unreachable runner may be away before its runs fail
    approval_ttl: float = 86400.0  #: seconds until an unanswered approval counts as denied
    audit_days: int = 0  #: days until a line of the audit log is deleted; 0 is never
    public_url: str = ""  #: how people reach this server, when a proxy is in front
    provider_urls: Mapping[str, str] = field(default_factory=dict)  #: provider → its API, if not at its maker's
    provider_stdio: bool | None = None  #: whether commands of MCP servers are started here; None: if it is embedded
    provider_hosts: Sequence[str] = ()  #: what MCP servers may be at beside public hosts; empty: any if it is embedded
    provider_keys: Mapping[str, str] = field(default_factory=dict)  #: the demo's, where an org has stored none

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
    stdio = read(env, "CORRAL_PROVIDER_STDIO").lower()
    if stdio not in {"", "on", "off"}:
        raise BadRequest(f"CORRAL_PROVIDER_STDIO must be on or off, not {stdio!r}", field="CORRAL_PROVIDER_STDIO")
    return Settings(
        data=data,
        host=host or read(env, "CORRAL_HOST", "127.0.0.1"),
        port=port if port is not None else int(read_number(env, "CORRAL_PORT", 3000)),
        database_url=read(env, "CORRAL_DATABASE_URL"),
        redis_url=read(env, "CORRAL_REDIS_URL"),
        bootstrap_key=read(env, "CORRAL_BOOTSTRAP_KEY"),
        secret_key=read(env, "CORRAL_SECRET_KEY"),
        rate_limit=int(read_number(env, "CORRAL_RATE_LIMIT", 120)),
        sync=sync,
        lost_after=read_number(env, "CORRAL_LOST_AFTER", 7200.0),
        approval_ttl=read_number(env, "CORRAL_APPROVAL_TTL", 86400.0, least=1),
        audit_days=audit_days,
        public_url=read(env, "CORRAL_PUBLIC_URL"),
        provider_urls={name: url for name in PROVIDERS if (url := read(env, f"{name.upper()}_BASE_URL"))},
        provider_stdio=stdio == "on" if stdio else None,
        provider_hosts=tuple(read(env, "CORRAL_PROVIDER_HOSTS").replace(",", " ").split()),
    )
