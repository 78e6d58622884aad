"""`corral plan`, `corral limits`, and what `corral keys` says of limits and runners."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from tests.cli.conftest import Command
from tests.conftest import ServerMaker
from tests.support.server import Server
from tests.support.waiting import eventually

PLANS = """
[plans.free]
limits = { agents = 3, seats = 2 }
features = { mcp = false }
"""


def test_an_operator_gives_an_org_a_plan_while_its_server_runs(
    corral: Command, make_server: ServerMaker, folder: Path
) -> None:
    (folder / "plans.toml").write_text(PLANS)
    plans = {"CORRAL_PLANS": str(folder / "plans.toml")}
    server = make_server(env=plans)
    shown = corral("plan", server=server)
    assert shown.out.splitlines()[0] == "Plan self-hosted"
    assert "any number" in shown.out
    given = corral("plan", "set", "Corral", "free", server=server, **plans)
    assert given.code == 0, given.err
    assert given.out == "Corral has the plan free. Running servers go by it within a second.\n"
    eventually(lambda: corral("plan", "--json", server=server).json()["name"] == "free", what="the server goes by it")
    told = corral("plan", server=server).out
    assert "Not included: mcp." in told
    assert [line.split() for line in told.splitlines() if "agents" in line] == [["agents", "0", "3"]]
    assert corral("plan", "set", "1", "default", "--json", server=server, **plans).json() == {
        "org": "1",
        "plan": "self-hosted",
    }
    default = corral("plan", "set", "1", "default", server=server)  # without the file: it cannot say which that is
    assert default.out == "1 has the default plan. Running servers go by it within a second.\n"
    unknown = corral("plan", "set", "1", "gold", server=server, **plans)
    assert unknown.code == 2
    assert "there are free, self-hosted" in unknown.err
    assert corral("plan", "set", "Nobody", "free", server=server, **plans).code == 1
    elsewhere = corral("plan", "set", "1", "free", CORRAL_URL=server.url, CORRAL_API_KEY=server.key)
    assert elsewhere.code == 1
    assert "on the server's machine" in elsewhere.err


def test_a_server_does_not_start_with_bad_plans_and_says_where(corral: Command, folder: Path) -> None:
    (folder / "plans.toml").write_text('[plans.free]\n\nlimits = { agents = "ten" }\n')
    plans = {"CORRAL_PLANS": str(folder / "plans.toml")}
    ended = corral("serve", "--data", str(folder / "data"), "--port", "0", **plans)
    assert ended.code == 2
    assert "plans.toml, line 3: plans.free.limits.agents must be a whole number of 0 or more, not 'ten'" in ended.err


def test_a_key_is_made_for_a_runner_and_others_are_given_limits(corral: Command, hand_server: Server) -> None:
    made = corral("keys", "create", "a machine", "--runner", "--json", server=hand_server).json()
    assert made["scopes"] == ["runner"]
    assert corral("keys", "create", "x", "--runner", "--scope", "runs:read", server=hand_server).code == 2
    assert corral("keys", "create", "x", "--runner", "--limit", "7", server=hand_server).code == 2
    (row,) = [line for line in corral("keys", server=hand_server).out.splitlines() if " a machine " in line]
    assert row.split()[-2:] == ["–", "runner"]  # a runner's calls are not counted
    assert corral("keys", "create", "slow", "--limit", "7", server=hand_server).code == 0
    changed = corral("keys", "limit", "slow", "9", server=hand_server)
    assert changed.out == "slow: 9 requests a minute.\n", changed.err
    (row,) = [line for line in corral("keys", server=hand_server).out.splitlines() if " slow " in line]
    assert " 9 " in row
    assert corral("keys", "limit", "slow", "default", "--json", server=hand_server).json()["rateLimit"] is None
    assert corral("keys", "limit", "slow", "default", server=hand_server).out == (
        "slow: the default number of requests a minute.\n"
    )
    assert corral("keys", "limit", "slow", "many", server=hand_server).code == 2
    assert corral("keys", "limit", "nobody", "3", server=hand_server).code == 1


def test_an_org_has_a_limit_and_the_operator_may_lift_it(corral: Command, make_server: ServerMaker) -> None:
    server = make_server(env={"CORRAL_RATE_LIMIT": "90"})
    assert corral("limits", server=server).out == "90 requests a minute for each key (the server's default).\n"
    assert corral("limits", "set", "80", server=server).out == "80 requests a minute for each key (the org's own).\n"
    refused = corral("limits", "set", "0", server=server)
    assert refused.code == 2
    assert "N must be a whole number from 1" in refused.err
    assert "for operators" in refused.err
    assert corral("limits", "set", "0", "--org", "Corral", server=server).out == (
        "Corral: any number of requests a minute for each key.\n"
    )
    assert corral("limits", "--json", server=server).json() == {"rate_limit": 0, "default": 90}
    assert corral("limits", "set", "default", "--json", server=server).json() == {"rate_limit": None, "default": 90}


def test_the_runner_of_corral_up_has_a_key_that_does_nothing_else(make_server: ServerMaker) -> None:
    server = make_server(command="up")
    path = server.data / "runner-key"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    with server.api(path.read_text().strip()) as its_own, server.api() as api:
        assert its_own.get("/api/v1/runs").status_code == 403
        eventually(lambda: api.get("/runners/available").json()["runners"], within=60, what="the runner is online")
        named = {key["name"]: key["scopes"] for key in api.get("/api/v1/keys").json()["data"]}
        assert named[f"runner of {os.uname().nodename}"] == ["runner"]
    server.stop()
    with sqlite3.connect(server.data / "corral.db") as database:
        database.execute("UPDATE api_keys SET revoked_at = 1 WHERE scopes = 'runner'")
    database.close()
    server.start()  # makes another
    with server.api() as api:
        eventually(lambda: api.get("/runners/available").json()["runners"], within=60, what="the runner is online")
