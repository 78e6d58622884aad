"""Plans and limits of an org: what it may have, what it has, and how often its keys may call."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ServerMaker
from tests.support.http import Api
from tests.support.waiting import eventually


def test_an_org_has_a_limit_for_all_its_keys(make_server: ServerMaker) -> None:
    server = make_server(env={"CORRAL_RATE_LIMIT": "50"})
    with server.api() as api:
        assert api.get("/api/v1/limits").json() == {"rate_limit": None, "default": 50}
        assert api.patch("/api/v1/limits", body={"rate_limit": 40}).json() == {"rate_limit": 40, "default": 50}
        eventually(lambda: api.get("/api/me").headers["RateLimit-Limit"] == "40", what="a key goes by its org's limit")
        assert api.patch("/api/v1/limits", body={"rate_limit": None}).json()["rate_limit"] is None
        assert api.patch("/api/v1/limits", body={"rate_limit": 0}).status_code == 400


def test_a_plan_shows_what_is_used_of_it_and_switches_off_what_it_lacks(make_server: ServerMaker, folder: Path) -> None:
    (folder / "plans.toml").write_text(
        'default = "free"\n[plans.free]\nlimits = { agents = 1, runners = 1 }\n'
        "features = { budgets = false, audit_export = false }\n"
    )
    server = make_server(env={"CORRAL_PLANS": str(folder / "plans.toml")})
    with server.api() as api:
        agent = {"role": "r", "glyph": "🐎", "provider": "anthropic", "model": "m", "autostart": False}
        assert api.post("/api/agents", body={"name": "Ada", **agent}).status_code == 201
        refused = api.post("/api/agents", body={"name": "Bob", **agent})
        assert refused.status_code == 403
        assert refused.json() == {"error": "Your plan, free, allows 1 agent (agents), and you have reached that"}
        plan = api.get("/api/plan").json()
        assert plan["name"] == "free"
        assert plan["limits"] == {"agents": 1, "runners": 1, "concurrent_runs": None, "seats": None}
        assert plan["used"] == {"agents": 1, "runners": 0, "concurrent_runs": 0, "seats": 1}
        me = api.get("/api/me").json()
        assert (me["plan"], me["features"]["budgets"], me["features"]["mcp"]) == ("free", False, True)
        off = api.post("/api/budgets", body={"scope": "org", "limit_usd": 1, "period": "total"})
        assert off.status_code == 403
        assert "Your plan, free, does not include budgets" in off.json()["error"]
        assert api.get("/api/budgets").status_code == 200
        assert api.get("/api/audit").status_code == 200
        export = api.get("/api/audit", headers={"Accept": "text/csv"})
        assert export.status_code == 403
        assert "does not include exports of the audit log (audit_export)" in export.text


def test_without_plans_nothing_is_limited(quiet: Api) -> None:
    plan = quiet.get("/api/plan").json()
    assert plan["name"] == quiet.get("/api/me").json()["plan"] == "self-hosted"
    assert set(plan["limits"].values()) == {None}
    assert all(plan["features"].values())
