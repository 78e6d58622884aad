"""Who is calling, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from corral.base.errors import Forbidden

#: What the runner protocol asks for. A key with this scope has no other: it is on machines where agents work.
RUNNER = "runner"
#: Everything that can be allowed. A key holds some of these, or `*` for all of them.
SCOPES = (
    "runs:read",
    "runs:write",
    "runners:read",
    "runners:write",
    "approvals:read",
    "approvals:write",
    "keys:read",
    "keys:write",
    "agents:read",
    "agents:write",
    "tasks:read",
    "tasks:write",
    "messages:read",
    "messages:write",
    "usage:read",
    "usage:write",
    "secrets:read",
    "secrets:write",
    "mcps:read",
    "mcps:write",
    "audit:read",
    "people:read",
    "people:write",
    RUNNER,
)
FULL = frozenset({*SCOPES, "*"})
#: What a run's own token may, and nothing else; no key and no person holds it, not even with `*`.
CALL_TOOLS = "tools:call"


class Role(StrEnum):
    """What a person is in their org, from the most to the least."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"

    def covers(self, least: Role) -> bool:
        """Tell whether this role is `least` or more."""
        return _RANK[self] >= _RANK[least]


_RUNNER_ALONE = frozenset({RUNNER})
_RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2, Role.OWNER: 3}
_OF_ADMINS = frozenset(
    ("keys:write", "runners:write", "secrets:write", "mcps:write", "usage:write", "people:write", "audit:read")
)
#: What a role may do at most; a console session has all of it, a key what it was given of it.
_OF_ROLE = {
    Role.OWNER: FULL,
    Role.ADMIN: FULL,
    Role.MEMBER: frozenset(SCOPES) - _OF_ADMINS - _RUNNER_ALONE,
    Role.VIEWER: frozenset(scope for scope in SCOPES if scope.endswith(":read")) - {"audit:read"},
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever is calling: a key, a signed-in person, or a run for its agent, of one org."""

    org_id: int
    actor: str  #: `key:<id>`, `user:<id>` or `run:<id>`, as rows and events name who did something
    scopes: frozenset[str]
    role: Role
    user_id: str | None = None
    key_id: str | None = None  #: None for a person in the console, and for a run
    sign_in: str | None = None  #: hash of the console session's token, None for a key
    run_id: str | None = None  #: the run whose own token this is
    rate_limit: int | None = None  #: requests a minute of this key, 0 for any number; None: as the server has it
    plan: str | None = None  #: its org's; None: the default one

    def has(self, scope: str) -> bool:
        """Tell whether `scope` is allowed; `*` itself needs everything."""
        return scope in self.scopes

    def may(self, scope: str, least: Role = Role.VIEWER) -> bool:
        """Tell whether they may do what needs this scope and at least this role, as `require` would."""
        return self.has(scope) and self.role.covers(least)


def scopes_of(role: Role) -> frozenset[str]:
    """Return everything a person of this role may do."""
    return _OF_ROLE[role]


def granted(scopes: str, role: Role) -> frozenset[str]:
    """Return what a key with these stored scopes may do while its owner has this role."""
    wanted = FULL if scopes == "*" else frozenset(scopes.split())
    if "runners:write" in wanted:
        wanted |= {RUNNER}
    return wanted & scopes_of(role)


def require(principal: Principal, scope: str | None, least: Role) -> None:
    """Raise Forbidden, naming what is missing, unless both the role and the scope suffice; None is for anybody."""
    is_run = principal.run_id is not None
    if is_run != (scope == CALL_TOOLS):
        raise Forbidden(f"A run's own token is for calls of Corral's tools ({CALL_TOOLS}), and they are for it alone")
    if is_run:
        return
    if scope is None and not principal.scopes:
        raise Forbidden("Nothing is left that this key may do: its owner's role does not allow it any more")
    if scope is None and principal.scopes == _RUNNER_ALONE:
        raise Forbidden("This is a runner's key: it does a runner's work, and nothing else")
    if scope is not None and scope not in scopes_of(principal.role):  # people know roles, and scopes are of keys
        least = next(role for role in (least, Role.MEMBER, Role.ADMIN) if scope in scopes_of(role))
    if not principal.role.covers(least):
        whose = "yours" if principal.key_id is None else "that of this key's owner"
        above = "" if least is Role.OWNER else " or above"
        raise Forbidden(f"This needs the role {least}{above}; {whose} is {principal.role}")
    if scope is not None and scope not in principal.scopes:
        raise Forbidden(f"This key lacks the scope {_named(scope)}")


def themself(principal: Principal) -> str:
    """Return who acts for themself: a person in the console, or whose key may do all that they may."""
    if principal.user_id is None:
        raise Forbidden("This key belongs to nobody, and only people may do that, for themselves")
    if principal.sign_in is None and not principal.has("*"):
        raise Forbidden("This key lacks the scope * (everything), which acting as its owner needs")
    return principal.user_id


def _named(scope: str) -> str:
    return {"*": "* (everything)", RUNNER: f"{RUNNER} (or runners:write)"}.get(scope, scope)
