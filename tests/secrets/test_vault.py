from __future__ import annotations

import asyncio
import base64
import dataclasses
import re

import pytest
from structlog.testing import capture_logs

from corral.base.errors import BadRequest, NotFound
from corral.platform.database import fetch
from corral.platform.settings import Settings
from corral.secrets import keyring, vault
from corral.secrets.cipher import Broken, WrongMasterKey

ORG, OTHER_ORG = 1, 2
ANN, BOB = "0190f0f0-0000-7000-8000-00000000000a", "0190f0f0-0000-7000-8000-00000000000b"
BY = "run:0190f0f0-0000-7000-8000-00000000000c"
VALUE = "sk-the-value-itself"

pytestmark = pytest.mark.usefixtures("opened")


def with_key(settings: Settings, byte: int) -> Settings:
    return dataclasses.replace(settings, secret_key=base64.b64encode(bytes([byte]) * 32).decode())


async def test_a_secret_reaches_runs_and_is_nowhere_to_be_read() -> None:
    await vault.put(ORG, "API_KEY", VALUE)
    assert await vault.resolve(ORG, None, BY) == {"API_KEY": VALUE}
    assert await vault.resolve(ORG, ANN, BY) == {"API_KEY": VALUE}
    for table in ("secrets", "data_keys"):
        stored = b"".join(
            bytes(part) for row in await fetch(f"SELECT * FROM {table}") for part in row if is_binary(part)
        )
        assert len(stored) > 32
        assert VALUE.encode() not in stored
    assert VALUE not in repr(await vault.page(ORG, scope="org"))


async def test_a_secret_stored_again_takes_the_place_of_the_first() -> None:
    await vault.put(ORG, "A", "1")
    (before,) = await vault.page(ORG, scope="org")
    await vault.put(ORG, "A", "2")
    (after,) = await vault.page(ORG, scope="org")
    assert await vault.resolve(ORG, None, BY) == {"A": "2"}
    assert after.updated_at >= before.updated_at


async def test_an_agents_own_secret_wins_over_the_orgs_and_is_nobody_elses() -> None:
    await vault.put(ORG, "A", "the org's")
    await vault.put(ORG, "B", "the org's")
    await vault.put(ORG, "A", "Ann's", agent_id=ANN)
    await vault.put(OTHER_ORG, "A", "another org's")
    assert await vault.resolve(ORG, ANN, BY) == {"A": "Ann's", "B": "the org's"}
    assert await vault.resolve(ORG, BOB, BY) == {"A": "the org's", "B": "the org's"}
    assert await vault.resolve(OTHER_ORG, ANN, BY) == {"A": "another org's"}
    assert await vault.resolve(3, ANN, BY) == {}


async def test_secrets_are_listed_by_scope_newest_first_and_in_pages() -> None:
    for n in range(5):
        await vault.put(ORG, f"ORG_{n}", "v")
    for agent in (ANN, BOB):
        for n in range(2):
            await vault.put(ORG, f"OWN_{n}", "v", agent_id=agent)
    await vault.put(OTHER_ORG, "ELSEWHERE", "v")

    org = [entry.key for entry in await vault.page(ORG, scope="org")]
    assert org == ["ORG_4", "ORG_3", "ORG_2", "ORG_1", "ORG_0"]
    assert [entry.key for entry in await vault.page(ORG, scope="org", limit=2, before="ORG_3")] == ["ORG_2", "ORG_1"]
    ann = await vault.page(ORG, scope="agent", agent_id=ANN)
    assert [(entry.key, entry.scope, entry.agent_id) for entry in ann] == [
        ("OWN_1", "agent", ANN),
        ("OWN_0", "agent", ANN),
    ]
    rest = await vault.page(ORG, scope="agent", before=f"{BOB}/OWN_0")
    assert [(entry.key, entry.agent_id) for entry in rest] == [("OWN_1", ANN), ("OWN_0", ANN)]
    with pytest.raises(BadRequest, match="before"):
        await vault.page(ORG, scope="org", before="ELSEWHERE")


async def test_a_secret_that_was_removed_is_gone_and_no_other() -> None:
    await vault.put(ORG, "A", "the org's")
    await vault.put(ORG, "A", "Ann's", agent_id=ANN)
    await vault.remove(ORG, "A", agent_id=ANN)
    assert await vault.resolve(ORG, ANN, BY) == {"A": "the org's"}
    for agent in (ANN, BOB):
        with pytest.raises(NotFound, match="no secret A of agent"):
            await vault.remove(ORG, "A", agent_id=agent)
    with pytest.raises(NotFound):
        await vault.remove(OTHER_ORG, "A")


async def test_a_name_is_that_of_a_variable_in_capitals() -> None:
    for name in ("", "lower", "1A", "_A", "A-B", "A B", "Ä", "A\n", "A" * 201):
        with pytest.raises(BadRequest) as refused:
            await vault.put(ORG, name, "v")
        assert refused.value.field == "key"


async def test_values_have_up_to_64_kib_of_whatever_text() -> None:
    await vault.put(ORG, "LONG", "€" * 21845 + "x")  # three bytes each
    assert len((await vault.resolve(ORG, None, BY))["LONG"].encode()) == 64 * 1024
    for value in ("", "€" * 21846):
        with pytest.raises(BadRequest, match="value"):
            await vault.put(ORG, "LONG", value)


async def test_the_first_secrets_may_come_all_at_once() -> None:
    names = [f"S{n}" for n in range(12)]
    await asyncio.gather(*[vault.put(ORG, name, name.lower()) for name in names])
    assert await vault.resolve(ORG, None, BY) == {name: name.lower() for name in names}


async def test_a_stored_value_that_was_changed_is_not_used() -> None:
    await vault.put(ORG, "A", VALUE)
    (row,) = await fetch("SELECT sealed FROM secrets")
    sealed = bytes(row["sealed"])
    for position in (0, 12, len(sealed) - 1):
        flipped = bytes([*sealed[:position], sealed[position] ^ 1, *sealed[position + 1 :]])
        await fetch("UPDATE secrets SET sealed = $1", flipped)
        with pytest.raises(Broken, match="A was changed"):
            await vault.resolve(ORG, None, BY)
    for cut in (b"", sealed[:5], sealed[:-1]):
        await fetch("UPDATE secrets SET sealed = $1", cut)
        with pytest.raises(Broken):
            await vault.resolve(ORG, None, BY)


async def test_a_value_moved_to_another_place_is_not_used() -> None:
    for n, move in enumerate(("key = 'MOVED'", f"agent_id = '{BOB}'", "agent_id = ''", "org_id = 2")):
        await vault.put(OTHER_ORG, "B", "b")  # so that there is a data key
        await vault.put(ORG, f"A{n}", VALUE, agent_id=ANN)
        await fetch(f"UPDATE secrets SET {move} WHERE key = $1", f"A{n}")
        with pytest.raises(Broken):
            await vault.resolve(OTHER_ORG if "org_id" in move else ORG, BOB if BOB in move else ANN, BY)
        await fetch("DELETE FROM secrets")


async def test_another_orgs_data_key_opens_nothing() -> None:
    await vault.put(ORG, "A", VALUE)
    await vault.put(OTHER_ORG, "B", "b")
    await fetch("UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE org_id = 1)")
    with pytest.raises(Broken):
        await vault.resolve(OTHER_ORG, None, BY)
    await fetch("DELETE FROM data_keys")
    with pytest.raises(Broken, match="gone"):
        await vault.resolve(ORG, None, BY)


async def test_another_master_key_is_told_apart_and_changes_nothing(settings: Settings) -> None:
    keyring.use(with_key(settings, 1))
    await vault.put(ORG, "A", VALUE)
    with capture_logs() as logs:
        await vault.check()
    assert logs == []
    (row,) = await fetch("SELECT master FROM data_keys")

    keyring.use(with_key(settings, 2))
    for attempt in (vault.resolve(ORG, None, BY), vault.put(ORG, "B", "b")):
        with pytest.raises(
            WrongMasterKey, match=rf"{row['master']}.*this server has (?!{row['master']}).*CORRAL_SECRET_KEY"
        ):
            await attempt
    with capture_logs() as logs:
        await vault.check()
    assert "CORRAL_SECRET_KEY" in logs[0]["why"]

    keyring.use(settings)
    with pytest.raises(WrongMasterKey, match="this server has none"):
        await vault.resolve(ORG, None, BY)

    keyring.use(with_key(settings, 1))
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}


async def test_who_lost_the_master_key_deletes_the_secrets_and_begins_anew(settings: Settings) -> None:
    keyring.use(with_key(settings, 1))
    await vault.put(ORG, "A", VALUE)
    keyring.use(with_key(settings, 2))
    await vault.remove(ORG, "A")
    await vault.put(ORG, "A", "anew")
    assert await vault.resolve(ORG, None, BY) == {"A": "anew"}


async def test_the_key_file_is_made_once_when_first_needed_and_only_its_owner_reads_it(settings: Settings) -> None:
    path = settings.data / "secret.key"
    assert await vault.resolve(ORG, None, BY) == {}
    await vault.check()
    assert not path.exists()
    await vault.put(ORG, "A", VALUE)
    assert path.stat().st_mode & 0o777 == 0o600
    key = path.read_text()
    keyring.use(settings)
    await vault.put(ORG, "B", "b")
    assert path.read_text() == key
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE, "B": "b"}
    assert [file.name for file in settings.data.iterdir() if file.name.startswith("secret")] == ["secret.key"]


async def test_a_key_in_the_settings_wins_over_the_file_and_may_be_url_safe(settings: Settings) -> None:
    key = base64.urlsafe_b64encode(b"\xff" * 32).decode()
    keyring.use(dataclasses.replace(settings, secret_key=key))
    await vault.put(ORG, "A", VALUE)
    keyring.use(with_key(settings, 0xFF))
    assert await vault.resolve(ORG, None, BY) == {"A": VALUE}
    assert not (settings.data / "secret.key").exists()


async def test_a_key_file_that_is_none_is_refused_rather_than_replaced(settings: Settings) -> None:
    path = settings.data / "secret.key"
    path.write_text("nonsense\n")
    with pytest.raises(BadRequest, match=re.escape(str(path))):
        await vault.put(ORG, "A", VALUE)
    assert path.read_text() == "nonsense\n"


async def test_each_use_is_recorded_with_version_and_attempt_and_the_last_is_shown() -> None:
    await vault.put(ORG, "A", "1")
    await vault.put(ORG, "B", "the org's")
    await vault.put(ORG, "B", "Ann's", agent_id=ANN)
    (untold,) = await vault.page(ORG, scope="agent")
    assert (untold.version, untold.last_used_at, untold.last_used_by) == (1, None, None)
    await vault.resolve(ORG, ANN, BY, 1)
    await vault.put(ORG, "A", "2")
    await vault.resolve(ORG, BOB, "run:later", 3)
    uses = await fetch("SELECT key, agent_id, version, used_by, attempt FROM secret_uses ORDER BY no")
    assert sorted(map(tuple, uses)) == [
        ("A", "", 1, BY, 1),
        ("A", "", 2, "run:later", 3),
        ("B", "", 1, "run:later", 3),
        ("B", ANN, 1, BY, 1),
    ]
    org = {entry.key: (entry.version, entry.last_used_by) for entry in await vault.page(ORG, scope="org")}
    assert org == {"A": (2, "run:later"), "B": (1, "run:later")}
    (own,) = await vault.page(ORG, scope="agent")
    assert own.last_used_by == BY
    assert own.last_used_at is not None
    await vault.remove(ORG, "A")
    await vault.put(ORG, "A", "3")
    assert (await vault.page(ORG, scope="org"))[0].last_used_at is None
    assert len(await fetch("SELECT 1 FROM secret_uses")) == 4


async def test_what_cannot_be_recorded_is_not_given_and_what_cannot_be_given_is_not_recorded() -> None:
    await vault.put(ORG, "A", VALUE)
    await fetch("UPDATE secrets SET sealed = $1", b"")
    with pytest.raises(Broken):
        await vault.resolve(ORG, None, BY)
    assert len(await fetch("SELECT 1 FROM secret_uses")) == 0
    await vault.put(ORG, "A", VALUE)
    await fetch("ALTER TABLE secret_uses RENAME TO elsewhere")
    try:
        with pytest.raises(Exception, match="secret_uses"):
            await vault.resolve(ORG, None, BY)
    finally:  # the next test may have this database
        await fetch("ALTER TABLE elsewhere RENAME TO secret_uses")


async def test_uses_are_listed_newest_first_in_pages_and_outlive_their_secret() -> None:
    await vault.put(ORG, "A", "1")
    await vault.put(OTHER_ORG, "A", "elsewhere")
    await vault.put(ORG, "A", "Ann's", agent_id=ANN)
    for attempt in (1, 2, 3):
        await vault.resolve(ORG, None, BY, attempt)
    await vault.resolve(ORG, ANN, "user:somebody")
    await vault.resolve(OTHER_ORG, None, BY, 9)

    uses = await vault.uses(ORG, "A")
    assert [(use.used_by, use.attempt, use.version, use.scope) for use in uses] == [
        (BY, attempt, 1, "org") for attempt in (3, 2, 1)
    ]
    first = await vault.uses(ORG, "A", limit=2)
    assert [use.attempt for use in await vault.uses(ORG, "A", before=first[-1].no)] == [1]
    (own,) = await vault.uses(ORG, "A", agent_id=ANN)
    assert (own.used_by, own.attempt, own.agent_id) == ("user:somebody", None, ANN)

    await vault.remove(ORG, "A")
    await vault.put(ORG, "A", "anew")
    assert await vault.uses(ORG, "A") == []
    assert len(await vault.uses(ORG)) == 4
    with pytest.raises(NotFound):
        await vault.get(ORG, "B")
    assert (await vault.get(ORG, "A", agent_id=ANN)).last_used_by == "user:somebody"
    assert await vault.stored(ORG) == {None: {"A"}, ANN: {"A"}}


def is_binary(part: object) -> bool:
    return isinstance(part, bytes | memoryview)
