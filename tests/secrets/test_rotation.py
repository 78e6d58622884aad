"""The master key is changed online: nothing is lost, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import multiprocessing
import signal
from collections.abc import Sequence

import pytest

from corral.platform.database import fetch
from corral.platform.settings import Settings
from corral.secrets import cipher, keyring, rotation, vault
from corral.secrets.cipher import WrongMasterKey
from corral.secrets.rotation import Rotated
from tests.secrets import user
from tests.secrets.test_vault import ANN, BY, ORG, OTHER_ORG, VALUE
from tests.secrets.user import MANY

pytestmark = pytest.mark.usefixtures("opened")


def with_keys(settings: Settings, *some: int) -> Settings:
    keys = [base64.b64encode(bytes([byte]) * 32).decode() for byte in some]
    return dataclasses.replace(settings, secret_key=", ".join(keys))


async def masters() -> Sequence[str]:
    return [row["master"] for row in await fetch("SELECT DISTINCT master FROM data_keys")]


async def test_of_several_keys_the_first_encrypts_and_the_others_open(settings: Settings) -> None:
    keyring.use(with_keys(settings, 1))
    await vault.put(ORG, "A", VALUE)
    keyring.use(with_keys(settings, 2, 1))
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}
    await vault.put(ORG, "B", "b")
    await vault.put(OTHER_ORG, "C", "c")
    assert len(await masters()) == 2
    await vault.check()
    keyring.use(with_keys(settings, 2))
    assert await vault.resolve(OTHER_ORG, None, BY) == {"C": "c"}
    with pytest.raises(WrongMasterKey):
        await vault.resolve(ORG, None, BY)


async def test_after_a_rotation_the_old_key_may_go(settings: Settings) -> None:
    keyring.use(with_keys(settings, 1))
    await vault.put(ORG, "A", VALUE)
    await vault.put(ORG, "A", "Ann's", agent_id=ANN)
    await vault.put(OTHER_ORG, "A", "another org's")
    sealed = [bytes(row["sealed"]) for row in await fetch("SELECT sealed FROM secrets ORDER BY no")]
    keyring.use(with_keys(settings, 2, 1))
    done = await rotation.rotate(renew=True)
    assert (done.orgs, done.left) == (2, 0)
    assert await masters() == [done.key]
    anew = [bytes(row["sealed"]) for row in await fetch("SELECT sealed FROM secrets ORDER BY no")]
    assert set(anew).isdisjoint(sealed)
    keyring.use(with_keys(settings, 2))
    assert await vault.resolve(ORG, ANN, BY) == {"A": "Ann's"}
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}
    assert await vault.resolve(OTHER_ORG, None, BY) == {"A": "another org's"}
    assert await rotation.rotate(renew=True) == Rotated(done.key, 0, 0)
    assert (await vault.page(ORG, scope="org"))[0].version == 1


async def test_a_key_in_the_data_directory_is_renewed_and_the_old_one_kept(settings: Settings) -> None:
    await vault.put(ORG, "A", VALUE)
    path = settings.data / "secret.key"
    (old,) = path.read_text().split()
    await rotation.rotate(renew=True)
    new, kept = path.read_text().split()
    assert (kept, new != old) == (old, True)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(new)
    keyring.use(settings)
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}


async def test_another_server_that_knows_the_old_file_follows(settings: Settings) -> None:
    await vault.put(ORG, "A", VALUE)
    await vault.resolve(ORG, None, BY)
    elsewhere = keyring._ring
    keyring.use(settings)
    await rotation.rotate(renew=True)
    keyring._ring = elsewhere
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}
    await vault.put(OTHER_ORG, "B", "b")
    assert len(await masters()) == 1


async def test_a_key_in_the_settings_takes_over_from_the_file(settings: Settings) -> None:
    await vault.put(ORG, "A", VALUE)
    keyring.use(with_keys(settings, 1))
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}
    await rotation.rotate(renew=True)
    (settings.data / "secret.key").unlink()
    keyring.use(with_keys(settings, 1))
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}


async def test_rotating_under_load_loses_nothing_and_disturbs_nobody(settings: Settings) -> None:
    orgs = (ORG, OTHER_ORG)
    for n in range(20):
        await vault.put(ORG, f"OLD_{n}", f"old {n}")
    users = [await started(settings, org, f"USER{n}") for n, org in enumerate(orgs)]
    keys = set()
    for _ in range(4):
        done = await rotation.rotate(renew=True)
        assert done.left == 0
        keys.add(done.key)
        await asyncio.sleep(0.05)
    rounds = [await user.stopped() for user in users]
    assert min(rounds) > 10, rounds
    assert len(keys) == 4
    last = await rotation.rotate(renew=True)
    assert await masters() == [last.key]
    path = settings.data / "secret.key"
    path.write_text(path.read_text().split()[0])
    keyring.use(settings)
    values = {**await vault.resolve(ORG, None, BY), **await vault.resolve(OTHER_ORG, None, BY)}
    assert all(values[f"OLD_{n}"] == f"old {n}" for n in range(20))
    for name, count in (("USER0", rounds[0]), ("USER1", rounds[1])):
        newest = {f"{name}_{at % MANY}": f"{name} {at}" for at in range(count)}
        assert {key: value for key, value in values.items() if key.startswith(name)} == newest


async def test_a_rotation_that_is_killed_leaves_all_readable_and_no_keys_lying_about(settings: Settings) -> None:
    orgs = range(1, 13)
    for org in orgs:
        for n in range(4):
            await vault.put(org, f"S{n}", f"{org} {n}")
    for after in (0.0, 0.02, 0.05, 0.1):
        killed = await started(settings, ORG, "rotate")
        await asyncio.sleep(after)
        killed.kill()
        keyring.use(settings)
        for org in orgs:
            assert await vault.resolve(org, None, BY) == {f"S{n}": f"{org} {n}" for n in range(4)}
    (settings.data / "secret.key.half").write_text("what one that was killed was writing")
    done = await rotation.rotate(renew=True)
    assert await masters() == [done.key]
    path = settings.data / "secret.key"
    assert [file.name for file in settings.data.glob("secret*")] == ["secret.key"]
    path.write_text(path.read_text().split()[0])
    keyring.use(settings)
    assert await vault.resolve(12, None, BY) == {f"S{n}": f"12 {n}" for n in range(4)}


class User:
    """A process beside this one that uses the secrets: forked, so that it begins at once."""

    def __init__(self, settings: Settings, org: int, name: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["pytest", "tests.secrets.user"])
        self.pipe, theirs = context.Pipe()
        told = (str(settings.data), settings.database_url, org, name, theirs)
        self._process = context.Process(target=user.run, args=told, daemon=True)
        self._process.start()
        theirs.close()

    async def stopped(self) -> int:
        """Tell it to stop; return how often it stored something and read it back."""
        self.pipe.send(None)
        rounds = int(await asyncio.to_thread(self.pipe.recv))
        await asyncio.to_thread(self._process.join)
        assert self._process.exitcode == 0
        return rounds

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        assert self._process.exitcode == -signal.SIGKILL


async def started(settings: Settings, org: int, name: str) -> User:
    """A process that has begun to use the secrets."""
    made = User(settings, org, name)
    assert await asyncio.to_thread(made.pipe.recv) == "begins"
    return made


async def test_a_rotation_that_is_cut_off_leaves_all_readable_and_is_finished_by_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.use(with_keys(settings, 1))
    for n in range(4):
        await vault.put(ORG, f"S{n}", VALUE)
        await vault.put(OTHER_ORG, f"S{n}", VALUE)
    keyring.use(with_keys(settings, 2, 1))
    seal, left = cipher.seal, 7

    def cut_off(key: bytes, plain: bytes, *place: str | int) -> bytes:
        nonlocal left
        left -= 1
        if not left:
            raise SystemError
        return seal(key, plain, *place)

    monkeypatch.setattr(cipher, "seal", cut_off)
    with pytest.raises(SystemError):
        await rotation.rotate(renew=True)
    monkeypatch.undo()
    assert len(await masters()) == 2
    for org in (ORG, OTHER_ORG):
        assert set((await vault.resolve(org, None, BY)).values()) == {VALUE}
    assert (await rotation.rotate(renew=True)).orgs == 1
    keyring.use(with_keys(settings, 2))
    assert set((await vault.resolve(OTHER_ORG, None, BY)).values()) == {VALUE}


async def test_a_rotation_stops_in_time_and_says_what_is_left(settings: Settings) -> None:
    keyring.use(with_keys(settings, 1))
    for org in range(1, 5):
        await vault.put(org, "A", VALUE)
    keyring.use(with_keys(settings, 2, 1))
    first = await rotation.rotate(renew=True, seconds=0)
    assert (first.orgs, first.left) == (1, 3)
    assert await rotation.rotate(renew=False) == Rotated(first.key, 3, 0)


async def test_what_no_key_opens_is_told_after_the_others_are_done(settings: Settings) -> None:
    for org, byte in ((ORG, 1), (OTHER_ORG, 2)):
        keyring.use(with_keys(settings, byte))
        await vault.put(org, "A", VALUE)
    keyring.use(with_keys(settings, 3, 2))
    with pytest.raises(WrongMasterKey):
        await rotation.rotate(renew=True)
    keyring.use(with_keys(settings, 3))
    assert await vault.resolve(OTHER_ORG, None, BY) == {"A": VALUE}
    keyring.use(with_keys(settings, 1))
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}
