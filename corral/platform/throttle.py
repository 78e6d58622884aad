"""How often somebody may try to sign in: so many failures for an account, and from an address, in a while.

The counts are rows, so that they are exact over all servers, and neither a restart nor a Redis that was flushed gives
anybody new tries. Who is refused writes nothing. Tries from where the account is signed in are counted apart, so that
a stranger who uses up the others locks nobody out there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from hashlib import sha256

from corral.base.errors import RateLimited
from corral.platform.database import Unit, commit, fetch, sql

WINDOW_MS = 15 * 60 * 1000
OF_ACCOUNT = 10
#: Many people may share an address.
FROM_ADDRESS = 50
_FROM = "from your address"


async def enter(account: str | None, address: str, *, known: Iterable[str] = ()) -> list[str]:
    """Count a try before its password is looked at; raises RateLimited. What it returns takes the count back.

    `known` are the addresses where the account is signed in.
    """
    network = _network(address)
    if account is not None and address and network in {_network(one) for one in known}:
        account = f"{account} at {network}"
    return await commit(_enter(account, network))


async def look(address: str) -> None:
    """Raise RateLimited if no further try from there would be looked at. Counts nothing."""
    if network := _network(address):
        await commit(_look(_subject("address", network)))


async def take_back(entered: Sequence[str]) -> None:
    """Take the count back of a try that was right, or that nobody has looked at."""
    for subject in entered:
        await fetch("UPDATE sign_in_attempts SET count = count - 1 WHERE subject = $1 AND count > 0", subject)


async def sweep() -> None:
    """Delete counts that no longer matter."""
    await fetch("DELETE FROM sign_in_attempts WHERE started_at <= now_ms() - $1", WINDOW_MS)


def _enter(account: str | None, network: str) -> Unit[list[str]]:
    wanted = [(_subject("address", network), FROM_ADDRESS, _FROM)] if network else []
    if account is not None:
        wanted.append((_subject("account", account), OF_ACCOUNT, "for this account"))
    for subject, most, whose in sorted(wanted):  # in one order, so that no two wait for each other
        counted = yield sql(_COUNT, subject, WINDOW_MS, most)
        if not counted:
            rows = yield sql(_LEFT, subject, WINDOW_MS)
            raise _refusal(rows[0]["ms"] if rows else 0, whose)
    return [subject for subject, _, _ in wanted]


def _look(subject: str) -> Unit[None]:
    rows = yield sql(f"{_LEFT} AND count >= $3 AND started_at > now_ms() - $2", subject, WINDOW_MS, FROM_ADDRESS)
    if rows:
        raise _refusal(rows[0]["ms"], _FROM)


def _refusal(left_ms: int, whose: str) -> RateLimited:
    seconds = max(1, -(-left_ms // 1000))
    return RateLimited(f"Too many sign-ins {whose} failed; try again in {-(-seconds // 60)} min", retry_after=seconds)


#: How long it takes until tries count from nothing again.
_LEFT = "SELECT started_at + $2 - now_ms() AS ms FROM sign_in_attempts WHERE subject = $1"
_COUNT = (
    "INSERT INTO sign_in_attempts (subject, count, started_at) VALUES ($1, 1, now_ms()) "
    "ON CONFLICT (subject) DO UPDATE SET "
    "count = CASE WHEN sign_in_attempts.started_at <= now_ms() - $2 THEN 1 ELSE sign_in_attempts.count + 1 END, "
    "started_at = CASE WHEN sign_in_attempts.started_at <= now_ms() - $2 THEN now_ms() "
    "ELSE sign_in_attempts.started_at END "
    "WHERE sign_in_attempts.count < $3 OR sign_in_attempts.started_at <= now_ms() - $2 RETURNING count"
)


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6 whoever has one has a /64 of them."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _subject(kind: str, what: str) -> str:
    return sha256(f"{kind}:{what}".encode(errors="surrogateescape")).hexdigest()
