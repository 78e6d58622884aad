from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from corral.base.errors import BadRequest, Forbidden, NotFound
from corral.platform import invitations, keys, plan_file, plans, rates
from corral.platform.access import Principal, Role
from corral.platform.orgs import Bootstrapped
from corral.platform.plans import Plan, Plans
from corral.platform.sign_in import Visit
from tests.platform.team import hire, signed_in

FILE = """
default = "free"

[plans.free]
limits = { agents = 3, runners = 1, concurrent_runs = 2, seats = 2 }
features = { budgets = false, sso = false }

[plans.team.limits]
agents = 30

[plans.company]
"""


def written(folder: Path, text: str) -> str:
    path = folder / "plans.toml"
    path.write_text(text)
    return str(path)


def test_a_file_of_plans_says_what_each_limits_and_switches_off(tmp_path: Path) -> None:
    found = plan_file.read(written(tmp_path, FILE))
    assert found is not None
    assert found.of(None).name == "free"
    assert found.of("free").told() == {"agents": 3, "runners": 1, "concurrent_runs": 2, "seats": 2}
    assert [found.of("free").has(feature) for feature in ("budgets", "sso", "mcp")] == [False, False, True]
    assert found.of("team").told() == {"agents": 30, "runners": None, "concurrent_runs": None, "seats": None}
    assert found.of("company").limits == {}
    assert found.of("gone").name == "free"


def test_without_a_file_or_a_default_nothing_is_limited(tmp_path: Path) -> None:
    assert plan_file.read("") is None
    assert plans.current().of(None) == Plan("self-hosted")
    found = plan_file.read(written(tmp_path, "[plans.small]\nlimits = { agents = 1 }"))
    assert found is not None
    assert found.of(None) == Plan("self-hosted")
    assert found.limit_any("agents")
    assert not found.limit_any("seats")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[plans.free]\nlimits = { agents = "ten" }', 2, "plans.free.limits.agents must be a whole number"),
        ("[plans.free.limits]\nagents = 1\nseats = -1", 3, "plans.free.limits.seats must be a whole number"),
        ("[plans.free]\n\nlimits = { agents = true }", 3, "plans.free.limits.agents must be a whole number"),
        ("[plans.free]\nlimits.agent = 3", 2, "plans.free.limits.agent is not known here; there are agents,"),
        ("[plans.a]\nfeatures = { mcp = true }\n[plans.b]\nfeatures = { mcp = 1 }", 4, "plans.b.features.mcp must be"),
        ("[plans.a.features]\nchat = true", 2, "plans.a.features.chat is not known here"),
        ("# free\n[plans.free]\nprice = 3 # free", 3, "plans.free.price is not known here"),
        ("[plan.free]", 1, "plan is not known here; there are default, plans"),
        ('default = "gold"\n[plans.free]', 1, "default must name one of the plans (free), not 'gold'"),
        ("[plans]\nfree = 3", 2, "plans.free must be a table, not 3"),
        ("plans = 3", 1, "plans must be a table"),
        ("[plans.free]\nlimits = { agents = }", 2, "is no TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_key_and_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(BadRequest) as error:
        plan_file.read(written(tmp_path, text))
    assert error.value.message.startswith("CORRAL_PLANS")
    assert said in error.value.message
    assert f"line {line}" in error.value.message


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read"):
        plan_file.read(str(tmp_path / "none.toml"))


async def test_an_operator_gives_an_org_a_plan(owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    some = Plans({"free": Plan("free"), "team": Plan("team", features={"mcp": False})}, Plan("free"))
    monkeypatch.setattr(plans, "_plans", some)
    _, token = await keys.create(owner.org_id, name="k", scopes=["*"], by=owner)
    assert (await plans.set_plan(owner.org_id, "team")).name == "team"
    found = await keys.authenticate(token)
    assert found is not None
    assert found.plan == "team"
    with pytest.raises(Forbidden, match=r"Your plan, team, does not include MCP servers \(mcp\)"):
        plans.require(found.plan, "mcp")
    plans.require(None, "mcp")
    assert (await plans.set_plan(owner.org_id, None)).name == "free"
    with pytest.raises(BadRequest, match="there are free, team"):
        await plans.set_plan(owner.org_id, "gold")
    with pytest.raises(NotFound):
        await plans.set_plan(owner.org_id + 1, "team")


async def test_a_key_has_its_own_limit_or_that_of_its_org(owner: Principal) -> None:
    key, token = await keys.create(owner.org_id, name="k", scopes=["*"], by=owner)

    async def limit() -> int | None:
        found = await keys.authenticate(token)
        assert found is not None
        return found.rate_limit

    assert await limit() is None
    await rates.change(owner.org_id, 600)
    assert await limit() == 600
    await keys.change(owner.org_id, key.id, {"rate_limit": 5, "name": "slow"})
    assert await limit() == 5
    assert (await keys.get(owner.org_id, key.id)).name == "slow"
    await keys.change(owner.org_id, key.id, {"rate_limit": None})
    await rates.change(owner.org_id, 0)
    assert await limit() == 0
    _, other = await keys.create(owner.org_id, name="q", scopes=["*"], by=owner, rate_limit=7)
    assert (await keys.authenticate(other) or owner).rate_limit == 7
    for unknown in (keys.change(owner.org_id + 1, key.id, {"name": "x"}), rates.change(owner.org_id + 1, 3)):
        with pytest.raises(NotFound):
            await unknown


async def test_a_runners_key_has_no_other_scope(owner: Principal) -> None:
    with pytest.raises(BadRequest, match="runner stands alone") as error:
        await keys.create(owner.org_id, name="k", scopes=["runner", "runs:read"], by=owner)
    assert error.value.field == "scopes"
    for scopes, is_runner in ((["runner"], True), (["runners:write"], True), (["*"], True), (["runners:read"], False)):
        _, token = await keys.create(owner.org_id, name="k", scopes=scopes, by=owner)
        found = await keys.authenticate(token)
        assert found is not None
        assert found.has("runner") is is_runner


async def test_the_last_seat_is_given_once_and_an_open_invitation_takes_one(
    org: Bootstrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = await signed_in(org.owner_id)
    plan = Plan("small", {"seats": 3})
    monkeypatch.setattr(plans, "_plans", Plans({"small": plan}, plan))
    found = await asyncio.gather(
        *(invitations.create(boss, role=Role.MEMBER) for _ in range(6)), return_exceptions=True
    )
    made = [one for one in found if not isinstance(one, BaseException)]
    refused = [one for one in found if isinstance(one, Forbidden)]
    assert (len(made), len(refused)) == (2, 4)
    assert refused[0].message == (
        "Your plan, small, allows 3 people and open invitations (seats), and you have reached that"
    )
    await invitations.accept(made[0][1], name="Ada", email="ada@example.com", password="a long password", visit=Visit())
    with pytest.raises(Forbidden, match="seats"):
        await hire(org.org_id)
    await invitations.revoke(org.org_id, made[1][0].id)
    await hire(org.org_id)
    with pytest.raises(Forbidden, match="seats"):
        await invitations.create(boss, role=Role.MEMBER, email="new@example.com")
