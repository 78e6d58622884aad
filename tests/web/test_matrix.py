"""The whole route table, asked by everybody who may not, and by who just may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from corral.base.ids import new_id
from corral.platform import keys
from corral.platform.access import CALL_TOOLS, RUNNER, SCOPES, Role
from corral.platform.database import commit, fetch, sql
from corral.web.app import routes
from tests.web.conftest import Person, Running
from tests.web.matrix import DOES_AS_WELL, OPEN, OPERATORS, SIGNED_IN, Row, rows

ROWS = rows()
UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"
OTHER_ORG = 78
#: What a caller who is nobody is answered: pages lead to where one signs in.
NOBODY, NOBODY_ON_PAGES = 401, 303


def named(row: Row) -> str:
    return f"{row.method} {row.path}"


def all_but(scope: str) -> list[str]:
    """Every scope that may stand beside others, but one and what does as well."""
    return [one for one in SCOPES if one not in {RUNNER, scope, *DOES_AS_WELL.get(scope, ())}]


class Callers:
    """Everybody who asks, each with a key made as people make them, and console sessions of each role."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.client = httpx.Client(base_url=running.server.settings.url, trust_env=False, timeout=60)
        self.without = {scope: self.key(all_but(scope)) for scope in SCOPES}
        self.alone = {scope: self.key([scope]) for scope in SCOPES}
        self.of_role = {role: running.do(self._of_role(role)) for role in Role}
        self.of_other_org = running.do(self._of_other_org())
        self.everything_by_name = self.key(all_but(RUNNER))
        self.full = running.server.bootstrapped.new_key
        self.revoked, self.expired = self.key(["*"]), self.key(["*"])
        self.running.do(self._end(self.revoked, self.expired))
        self.sessions = {role: Person(running, role.value) for role in Role}

    def key(self, scopes: list[str]) -> str:
        with self.running.api() as api:
            made: str = api.post("/api/v1/keys", body={"name": "k", "scopes": scopes}).json()["key"]
            return made

    def ask(self, row: Row, key: str | None) -> int:
        """Return the status of the answer."""
        return self._status(self.client, row, {} if key is None else {"Authorization": f"Bearer {key}"})

    def ask_signed_in(self, row: Row, role: Role) -> int:
        """Return the status of the answer to a person in the console."""
        return self._status(self.sessions[role].client, row, {})

    def close(self) -> None:
        self.client.close()
        for person in self.sessions.values():
            person.client.close()

    def _status(self, client: httpx.Client, row: Row, headers: dict[str, str]) -> int:
        path = re.sub(r"<[a-z_]+>", UNKNOWN, row.path)
        content = None if row.method == "GET" else b"{not json"
        sent = {"Accept": "application/json", **headers}
        with client.stream(row.method, path, headers=sent, content=content) as answer:  # of a stream the head is enough
            return answer.status_code

    async def _of_role(self, role: Role) -> str:
        user, token = new_id(), keys.PREFIX + f"matrix-{role}-{new_id()}"

        def unit() -> Any:
            yield sql(
                "INSERT INTO users (id, org_id, name, role, created_at) VALUES ($1, 1, $2, $2, 0)", user, role.value
            )
            yield from keys.insert(1, name=role.value, scopes="*", user_id=user, token=token)

        await commit(unit())
        return token

    async def _of_other_org(self) -> str:
        token = keys.PREFIX + f"matrix-other-{new_id()}"

        def unit() -> Any:
            yield sql("INSERT INTO orgs (id, name, created_at) VALUES ($1, 'other', 0)", OTHER_ORG)
            yield from keys.insert(OTHER_ORG, name="k", scopes="*", user_id=None, token=token)

        await commit(unit())
        return token

    async def _end(self, revoked: str, expired: str) -> None:
        await fetch("UPDATE api_keys SET revoked_at = now_ms() WHERE hash = $1", keys.digest(revoked))
        await fetch("UPDATE api_keys SET expires_at = now_ms() - 1 WHERE hash = $1", keys.digest(expired))


@pytest.fixture(scope="module")
def callers(running: Running) -> Iterator[Callers]:
    made = Callers(running)
    yield made
    made.close()


def test_every_route_has_its_row_and_every_row_its_route() -> None:
    assert [named(row) for row in ROWS] == [f"{route.method} {route.path}" for route in routes() if not route.open]
    open_to_all = [" ".join(line.split()) for line in OPEN.strip().splitlines()]
    assert open_to_all == [f"{route.method} {route.path}" for route in routes() if route.open]


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_who_shows_no_key_or_one_that_is_over_is_nobody(callers: Callers, row: Row) -> None:
    nobody = NOBODY_ON_PAGES if row.is_page else NOBODY
    asked = {
        "no key": callers.ask(row, None),
        "a key that never was": callers.ask(row, keys.PREFIX + "x" * 43),
        "a revoked key": callers.ask(row, callers.revoked),
        "an expired key": callers.ask(row, callers.expired),
    }
    assert asked == dict.fromkeys(asked, nobody)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_key_needs_the_scope_of_the_row_and_no_other(callers: Callers, row: Row) -> None:
    if row.scope is None:
        others = [key for scope, key in callers.alone.items() if scope != RUNNER]
        assert {callers.ask(row, key) for key in (*callers.without.values(), *others)} <= {row.reached, 403}
        assert callers.ask(row, callers.alone[RUNNER]) == 403
    elif row.scope == CALL_TOOLS:
        assert callers.ask(row, callers.full) == 403
    elif row.scope == "*":
        assert callers.ask(row, callers.everything_by_name) == 403
        assert callers.ask(row, callers.full) == row.reached
    else:
        assert callers.ask(row, callers.without[row.scope]) == 403
        for scope in {row.scope} | DOES_AS_WELL.get(row.scope, set()):
            assert callers.ask(row, callers.alone[scope]) == row.reached


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_role_below_the_rows_is_refused_and_from_it_on_all_are_let_in(callers: Callers, row: Row) -> None:
    expected = {role: row.reached if role.covers(row.role) else 403 for role in Role}
    assert {role: callers.ask(row, key) for role, key in callers.of_role.items()} == expected
    if row.method == "GET":
        seen = SIGNED_IN.get(row.path, row.reached)
        expected = {role: seen if role.covers(row.role) else 403 for role in Role}
        assert {role: callers.ask_signed_in(row, role) for role in Role} == expected


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_key_of_another_org_finds_nothing_and_breaks_nothing(callers: Callers, row: Row) -> None:
    assert callers.ask(row, callers.of_other_org) == (403 if row.path in OPERATORS else row.reached)


def test_what_a_run_may_no_key_may() -> None:
    assert [named(row) for row in ROWS if row.scope == CALL_TOOLS] == ["POST /api/v1/tools/<name>"]
