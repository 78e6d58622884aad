"""Two orgs on one server: neither sees, lists, streams, guesses, counts or changes anything of the other."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from corral.platform import keys
from corral.platform.access import CALL_TOOLS
from corral.platform.database import commit, sql
from corral.web.app import routes
from corral.web.routes import Route
from tests.support.http import JSON, Api, frames
from tests.support.seeds import AGENT, Seeds
from tests.web.conftest import Running
from tests.web.filled import MARK, filled_org, person_of_first_org

READS = [route for route in routes() if route.method == "GET" and not route.open]
BY_ID = [route for route in routes() if "<" in route.path and not route.open and route.scope != CALL_TOOLS]
#: Filters of lists, and what they name.
FILTERS = {
    "agent": "agent",
    "assignee": "agent",
    "task": "task",
    "tree": "task",
    "epic": "epic",
    "run": "run",
    "key": "key",
    "user": "user",
    "actor": "user",
    "person": "user",
    "before": "run",
    "target_id": "mcp",
    "team": "team",
}
#: What differs between two answers although they tell the same.
_VARIES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|\d{4}-\d\d-\d\dT[\d:.]+Z?|crl_live_\w+|\"id\":\d+,\"name\":\"other\""
    r"|<time[^>]*>[^<]*</time>|\b\d+ (s|min|ms) ago\b|\b[\d.]+ (ms|s)\b|(?<=_ms\":)[\d.]+"
    r"|(?<=data-label=\"used\">)never|(?<=data-org=\")\d+"
)
#: When a key was last used is written down a little later.
_USED = re.compile('; it was last used <time[^>]*>[^<]*</time>|"lastUsedAt":(null|"[^"]*")')
_orgs = count(900)


@dataclass
class World:
    """An org full of things, a curious one, and one like that which asks for things that never were."""

    seeds: Seeds
    stranger: Api
    clueless: Api
    ids: dict[str, list[str]]  #: what there is, by the word paths have for it
    before: dict[str, tuple[int, str]]  #: what the curious one was answered before there was anything
    everything: list[tuple[int, str]]  #: what the full one was shown last, as long as it has done nothing since


async def other_org() -> str:
    """Make an org with a full key; all are called alike, so that their answers may be compared."""
    org, token = next(_orgs), keys.PREFIX + uuid.uuid4().hex

    def unit() -> Any:
        yield sql("INSERT INTO orgs (id, name, created_at) VALUES ($1, 'other', 0)", org)
        yield from keys.insert(org, name="k", scopes="*", user_id=None, token=token)

    await commit(unit())
    return token


@pytest.fixture(scope="module")
def world(running: Running) -> Iterator[World]:
    with (
        running.api() as api,
        running.api(running.do(other_org())) as stranger,
        running.api(running.do(other_org())) as clueless,
    ):
        before = {route.path: read(stranger, route.path) for route in READS if "<" not in route.path}
        seeds, ids = filled_org(api, running.do(person_of_first_org()))
        yield World(seeds, stranger, clueless, ids, before, [])


@pytest.fixture
def busy(running: Running) -> Iterator[Api]:
    """A caller of a third org, who has things too."""
    with running.api(running.do(other_org())) as caller:
        yield caller


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def read(api: Api, path: str, **query: str) -> tuple[int, str]:
    """Return an answer's status and text; of a stream what it says at once."""
    headers = {**api._auth(), "Accept": "application/json"}
    if path.endswith("/messages/stream"):
        query = {"seconds": "0.1", **query}
    answer = api.client.get(path, headers=headers, params=query, timeout=60)
    return answer.status_code, answer.text


def alike(told: tuple[int, str]) -> tuple[int, str]:
    """Leave out what differs between two answers that tell the same."""
    return told[0], _VARIES.sub("…", _USED.sub("", told[1]))


def about(route: Route, ids: dict[str, list[str]]) -> Iterator[str]:
    """Yield this route's path for everything there is, of whatever kind."""
    for id_ in [one for kind, found in ids.items() if kind != "team" for one in found]:
        yield re.sub(r"<[a-z_]+>", id_, route.path)


@pytest.mark.parametrize("route", READS, ids=named)
def test_an_answer_is_the_same_whether_another_org_has_something_or_nothing(world: World, route: Route) -> None:
    never: dict[str, tuple[int, str]] = {}  # what is told of what never was, by what the path looks like
    for path in about(route, world.ids) if "<" in route.path else [route.path]:
        theirs = read(world.stranger, path)
        assert MARK not in theirs[1].lower(), path
        assert "31337" not in theirs[1].replace(",", ""), path
        if path in world.before:  # what counts over all orgs tells every stranger the same, but not at every time
            assert alike(theirs) == alike(world.before[path]), path
        else:
            like = re.sub(r"[0-9a-f-]{36}", str(uuid.UUID(int=0)), path)
            if like not in never:
                asked = like.replace(str(uuid.UUID(int=0)), str(uuid.uuid4()))
                never[like] = alike(read(world.clueless, asked))
            assert alike(theirs) == never[like], path


@pytest.mark.parametrize("route", [one for one in READS if "<" not in one.path], ids=named)
def test_no_filter_tells_what_another_org_has(world: World, route: Route) -> None:
    for name, kind in FILTERS.items():
        theirs, never = world.ids[kind][0], f"{uuid.uuid4()}"
        told = [
            read(api, route.path, **{name: one}) for api, one in ((world.stranger, theirs), (world.clueless, never))
        ]
        left = [(status, text.replace(one, "")) for (status, text), one in zip(told, (theirs, never), strict=True)]
        assert left[0][0] < 500
        assert MARK not in left[0][1].lower(), (route.path, name)
        assert alike(left[0]) == alike(left[1]), (route.path, name)


@pytest.mark.parametrize("route", BY_ID, ids=named)
def test_what_another_org_has_is_not_found_and_stays_as_it_is(world: World, route: Route) -> None:
    world.seeds.hand.poll(free_slots=0)  # its machine stays online, which all see of whom it belongs to
    good = world.seeds.good(re.sub(r"<([a-z_]+)>", r"{\1}", named(route))) if not route.hidden else None
    body = {"json": good.body} if good is not None and good.body is not None else {}
    before = everything(world) if good is not None or not world.everything else world.everything
    for path in about(route, world.ids):
        headers = {**world.stranger._auth(), "Accept": "application/json"}
        answer = world.stranger.client.request(route.method, path, headers=headers, **body)
        # A runner's number counts in each org, and what has none yet is not there either.
        assert answer.status_code in ({404} if not route.hidden else {400, 403, 404, 409}), (
            path,
            answer.status_code,
            answer.text,
        )
    world.everything = everything(world)
    assert world.everything == before


def everything(world: World) -> list[tuple[int, str]]:
    """Return what the org that is full sees of what is marked."""
    kinds = {
        "agent": "/api/agents",
        "task": "/api/tasks",
        "epic": "/api/epics",
        "run": "/api/v1/runs",
        "budget": "/api/budgets",
    }
    kinds |= {"key": "/api/v1/keys", "approval": "/api/approvals", "runner": "/api/v1/runners", "user": "/api/people"}
    seen = [
        read(world.seeds.api, f"{kinds[kind]}/{id_}") for kind, ids in world.ids.items() if kind in kinds for id_ in ids
    ]
    lists = [
        read(world.seeds.api, path)
        for path in ("/api/mcps", "/api/secrets", "/api/usage", "/api/usage/prices", "/api/invitations")
    ]
    return [alike(one) for one in seen + lists]


def test_nothing_new_may_refer_to_what_another_org_has(world: World, busy: Api) -> None:
    ids = {kind: found[0] for kind, found in world.ids.items()}
    mine = busy.post("/api/agents", body={**AGENT, "name": "mine"}).json()["id"]
    task = {"title": "t", "input": "i", "assignee": mine}
    refused: list[tuple[str, JSON, str]] = [
        ("/api/tasks", {**task, "assignee": ids["agent"]}, "assignee"),
        ("/api/tasks", {**task, "requester": ids["agent"]}, "requester"),
        ("/api/tasks", {**task, "epic_id": ids["epic"]}, "epic_id"),
        ("/api/tasks", {**task, "parent": ids["task"]}, "parent"),
        ("/api/tasks", {**task, "blocked_by": [ids["task"]]}, "blocked_by"),
        ("/api/agents", {**AGENT, "name": "x", "manager": ids["agent"]}, "manager"),
        ("/api/messages", {"to": ids["agent"], "text": "hi"}, "to"),
        ("/api/messages", {"to": f"{MARK} agent", "text": "hi"}, "to"),
        ("/api/messages", {"to": mine, "text": "hi", "reply_to": ids["message"]}, "reply_to"),
        (
            "/api/mcps",
            {"name": "x", "transport": "stdio", "command": "x", "enabled_for": "agents", "agents": [ids["agent"]]},
            "agents",
        ),
        ("/api/budgets", {"scope": "agent", "target": ids["agent"], "limit_usd": 5, "period": "day"}, "target"),
        ("/api/budgets", {"scope": "task", "target": ids["task"], "limit_usd": 5, "period": "total"}, "target"),
        ("/api/budgets", {"scope": "key", "target": ids["key"], "limit_usd": 5, "period": "day"}, "target"),
        ("/api/secrets", {"key": "X", "value": "v", "scope": "agent", "agentId": ids["agent"]}, "agentId"),
        (
            "/api/v1/runs",
            {"prompt": "p", "cwd": world.seeds.hand.root, "runnerId": world.seeds.hand.card["uid"]},
            "runnerId",
        ),
    ]
    before = everything(world)
    for path, body, field in refused:
        answer = busy.post(path, body=body)
        assert answer.status_code == 400, (path, body, answer.text)
        assert field in answer.text
        assert f"{MARK} " not in answer.text.replace(str(body.get(field)), "")
    assert busy.post("/api/run", body={"taskId": ids["task"]}).status_code == 404
    assert everything(world) == before


def test_a_stream_of_messages_carries_those_of_its_own_org_only(world: World, busy: Api) -> None:
    mine = busy.post("/api/agents", body={**AGENT, "name": "hears"}).json()["id"]
    with busy.stream("/api/messages/stream") as heard:
        world.seeds.api.post("/api/messages", body={"to": world.ids["agent"][0], "text": f"{MARK} news"})
        busy.post("/api/messages", body={"to": mine, "text": "good day"})
        assert next(frames(heard)).json()["text"] == "good day"
