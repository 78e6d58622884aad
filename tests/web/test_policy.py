"""Who may see and change the rules of delegation."""

from __future__ import annotations

from typing import Any

import pytest

from corral.platform import keys
from corral.platform.database import commit, sql
from tests.support.http import Api
from tests.web.conftest import Running


async def key_of(role: str) -> str:
    """A key with every scope that a person of this role may have."""

    def unit() -> Any:
        yield sql("INSERT INTO users (id, org_id, name, role, created_at) VALUES ($1, 1, $1, $1, 0)", role)
        token = f"{keys.PREFIX}of-a-person-who-is-{role}"
        yield from keys.insert(1, name=role, scopes="*", user_id=role, token=token)
        return token

    return str(await commit(unit()))


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("member", 403), ("viewer", 403)])
def test_the_rules_of_delegation_are_for_admins(running: Running, role: str, status: int) -> None:
    with running.api(running.do(key_of(role))) as api:
        assert api.get("/api/v1/policy").status_code == status
        assert api.patch("/api/v1/policy", body={"max_depth": 5}).status_code == status
        assert api.get("/api/me").json()["role"] == role
        assert api.get("/api/agents").status_code == 200


def test_a_rule_that_makes_no_sense_is_refused_by_name(full: Api) -> None:
    for name, bad in (("delegate_to", "nobody"), ("max_fan_out", -1), ("due_hours", 0), ("max_open_tasks", "many")):
        answer = full.patch("/api/v1/policy", body={name: bad})
        assert answer.status_code == 400
        assert name in answer.json()["error"]["message"]
