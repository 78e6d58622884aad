from __future__ import annotations

import pytest

from corral.base.errors import Forbidden
from corral.platform.access import CALL_TOOLS, FULL, RUNNER, SCOPES, Principal, Role, granted, require, scopes_of


def test_each_role_covers_the_ones_below_it() -> None:
    roles = list(Role)
    for higher, role in enumerate(roles):
        for lower, least in enumerate(roles):
            assert role.covers(least) == (higher <= lower)
            assert (scopes_of(role) >= scopes_of(least)) or higher > lower


def test_a_viewer_only_reads() -> None:
    assert scopes_of(Role.VIEWER) == {scope for scope in SCOPES if scope.endswith(":read")} - {"audit:read"}


def test_a_star_is_everything_its_owners_role_allows() -> None:
    assert granted("*", Role.OWNER) == {*SCOPES, "*"}
    assert "*" not in granted("*", Role.MEMBER)
    assert granted("runs:read keys:write", Role.MEMBER) == {"runs:read"}


def test_a_runs_own_token_calls_tools_and_does_nothing_else_and_nobody_else_calls_them() -> None:
    run = Principal(1, "run:1", frozenset({CALL_TOOLS}), Role.VIEWER, run_id="1")
    owner = Principal(1, "user:1", FULL, Role.OWNER)
    require(run, CALL_TOOLS, Role.VIEWER)
    require(owner, None, Role.VIEWER)
    for principal, scope in ((run, "runs:read"), (run, None), (owner, CALL_TOOLS)):
        with pytest.raises(Forbidden, match="own token"):
            require(principal, scope, Role.VIEWER)


@pytest.mark.parametrize("role", Role)
def test_a_runners_key_is_for_nothing_else_whatever_becomes_of_its_owner(role: Role) -> None:
    key = Principal(1, "key:1", granted(RUNNER, role), role, user_id="1", key_id="1")
    with pytest.raises(Forbidden):
        require(key, None, Role.VIEWER)


def test_what_is_missing_is_named() -> None:
    key = Principal(org_id=1, actor="key:1", scopes=frozenset({"runs:read"}), role=Role.MEMBER, key_id="1")
    person = Principal(org_id=1, actor="user:1", scopes=scopes_of(Role.VIEWER), role=Role.VIEWER)
    require(key, "runs:read", Role.VIEWER)
    with pytest.raises(Forbidden, match="runs:write"):
        require(key, "runs:write", Role.VIEWER)
    with pytest.raises(Forbidden, match="owner"):
        require(key, "runs:read", Role.OWNER)
    for scope, least, needed in (
        ("runs:write", Role.VIEWER, "member or above"),
        ("audit:read", Role.VIEWER, "admin or above"),
        ("secrets:write", Role.OWNER, "owner"),
        ("*", Role.OWNER, "owner"),
    ):
        with pytest.raises(Forbidden, match=f"This needs the role {needed}; yours is viewer"):
            require(person, scope, least)


def test_who_shows_a_key_is_told_whether_its_scopes_or_its_owners_role_fall_short() -> None:
    key = Principal(1, "key:1", granted("*", Role.MEMBER), Role.MEMBER, key_id="1")
    with pytest.raises(Forbidden, match="needs the role admin or above; that of this key's owner is member"):
        require(key, "keys:write", Role.VIEWER)
    some = Principal(1, "key:1", granted("runs:read", Role.OWNER), Role.OWNER, key_id="1")
    with pytest.raises(Forbidden, match="This key lacks the scope keys:write"):
        require(some, "keys:write", Role.ADMIN)
