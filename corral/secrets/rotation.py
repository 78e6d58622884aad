"""The master key is changed while everything goes on: org by org, in a transaction each.

Whatever stops it in between leaves every secret readable, and is made up for by doing it again.
"""

from __future__ import annotations

import time

import msgspec

from corral.base.logs import get_logger
from corral.platform import acting, audit
from corral.platform.database import Unit, commit, fetch, many, sql
from corral.secrets import cipher, keyring
from corral.secrets.cipher import Broken, MasterKey, WrongMasterKey
from corral.secrets.vault import place

log = get_logger()


class Rotated(msgspec.Struct, frozen=True):
    """How far a rotation came."""

    key: str  #: fingerprint of the master key that encrypts
    orgs: int  #: whose secrets were encrypted anew by this call
    left: int  #: whose still are to be


async def rotate(*, renew: bool, seconds: float = 5.0) -> Rotated:
    """Encrypt all secrets anew under the first master key, with new data keys, for so many seconds.

    `renew` makes a new master key first, where it is kept in the data directory. Raises WrongMasterKey, after all
    others, for what no key of this server opens.
    """
    key = keyring.renewed() if renew else keyring.sealing()
    asking = acting.now().org_id
    if renew and asking is not None:
        await commit(audit.note(asking, "master_key.renewed", "master_key", key.fingerprint))
    until, done = time.monotonic() + seconds, 0
    wrong: WrongMasterKey | None = None
    rows = await fetch("SELECT org_id FROM data_keys WHERE master <> $1 ORDER BY org_id", key.fingerprint)
    for n, row in enumerate(rows):
        if n and time.monotonic() > until:
            return Rotated(key.fingerprint, done, len(rows) - n)
        try:
            done += await commit(_anew(row["org_id"], key))
        except WrongMasterKey as error:
            wrong = error
    if wrong is not None:
        raise wrong
    return Rotated(key.fingerprint, done, 0)


def _anew(org_id: int, key: MasterKey) -> Unit[int]:
    """Encrypt an org's secrets with a new data key under this master key; who stores one meanwhile waits."""
    rows = yield sql(
        "UPDATE data_keys SET org_id = org_id WHERE org_id = $1 AND master <> $2 RETURNING master, wrapped",
        org_id,
        key.fingerprint,
    )
    if not rows:
        return 0  # another rotation was quicker
    fresh = cipher.new_key()
    secrets = yield sql("SELECT no, agent_id, key, sealed FROM secrets WHERE org_id = $1", org_id)
    if secrets:
        old = keyring.opening(rows[0]["master"]).unwrap(org_id, rows[0]["wrapped"])
        sealed = []
        for row in secrets:
            bound = place(org_id, row["agent_id"], row["key"])
            try:
                sealed.append((row["no"], cipher.seal(fresh, cipher.unseal(old, row["sealed"], *bound), *bound)))
            except Broken:  # it opened before no more than it will after
                log.warning("a secret cannot be opened: store it anew", org=org_id, key=row["key"])
        yield many("UPDATE secrets SET sealed = $2 WHERE no = $1", sealed)
    yield sql(
        "UPDATE data_keys SET master = $2, wrapped = $3, created_at = now_ms() WHERE org_id = $1",
        org_id,
        key.fingerprint,
        key.wrap(org_id, fresh),
    )
    yield from audit.note(org_id, "secrets.rotated", "master_key", key.fingerprint, secrets=len(secrets))
    return 1
