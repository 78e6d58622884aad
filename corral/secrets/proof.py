"""Do the keys at hand open what is sealed in a database? For backups, which hold no key."""

from __future__ import annotations

from collections.abc import Iterable

from corral.platform.settings import Settings
from corral.secrets import master
from corral.secrets.cipher import Broken, WrongMasterKey


def prove(data_keys: Iterable[tuple[int, str, bytes]], settings: Settings) -> int:
    """Open each org's data key and return how many there are; WrongMasterKey names the key that is missing."""
    keys = {key.fingerprint: key for key in (*master.told(settings), *master.kept(settings))}
    opened = 0
    for org_id, fingerprint, wrapped in data_keys:
        if fingerprint not in keys:
            raise WrongMasterKey(
                f"The secrets in it are sealed under the master key {fingerprint}, and here "
                f"{'are ' + ', '.join(sorted(keys)) if keys else 'is none'}: set CORRAL_SECRET_KEY, or put that key "
                f"into {settings.data / master.FILE}"
            )
        try:
            keys[fingerprint].unwrap(org_id, wrapped)
        except Broken as error:
            raise Broken(f"What seals the secrets of org {org_id} was changed, and does not open any more") from error
        opened += 1
    return opened
