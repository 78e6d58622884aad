"""The master keys of this process: the one that encrypts, and those that open what is encrypted."""

from __future__ import annotations

from corral.platform.settings import Settings
from corral.secrets import master
from corral.secrets.cipher import MasterKey, WrongMasterKey


class _Ring:
    """Master keys, looked for when they are needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.told = master.told(settings)
        self.kept: list[MasterKey] = []

    def sealing(self) -> MasterKey:
        """Return the key that encrypts; made if there is none. The file is read anew: it may have been rotated."""
        if self.told:
            return self.told[0]
        self.kept = master.kept(self.settings)
        return self.kept[0] if self.kept else master.made(self.settings)

    def opening(self, fingerprint: str) -> MasterKey:
        """Return the key of this fingerprint, or raise WrongMasterKey."""
        for key in (*self.told, *self.kept):
            if key.fingerprint == fingerprint:
                return key
        self.kept = master.kept(self.settings)
        for key in self.kept:
            if key.fingerprint == fingerprint:
                return key
        ours = ", ".join(key.fingerprint for key in (*self.told, *self.kept)) or "none"
        raise WrongMasterKey(
            f"The secrets here are encrypted with the master key {fingerprint}, and this server has {ours}: set "
            "CORRAL_SECRET_KEY to that key on every server, or delete the org's secrets and store them anew"
        )


_ring: _Ring | None = None


def use(settings: Settings) -> None:
    """Take the master keys from where these settings have them; BadRequest if they hold something that is none."""
    global _ring  # noqa: PLW0603 - one ring a process, chosen once by the composition root
    _ring = _Ring(settings)


def sealing() -> MasterKey:
    """Return the master key that encrypts, a new one if there is none."""
    return _known().sealing()


def opening(fingerprint: str) -> MasterKey:
    """Return the master key of this fingerprint, or raise WrongMasterKey."""
    return _known().opening(fingerprint)


def renewed() -> MasterKey:
    """Return the key that encrypts from now on: a new one, unless the settings hold it."""
    ring = _known()
    return ring.told[0] if ring.told else master.replaced(ring.settings)


def _known() -> _Ring:
    assert _ring is not None, "no master key is in use; the composition root calls keyring.use()"
    return _ring
