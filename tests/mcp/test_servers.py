from __future__ import annotations

import asyncio
from typing import Any

import pytest

from corral.base.errors import BadRequest, Conflict, NotFound
from corral.base.ids import new_id
from corral.mcp import servers
from corral.mcp.render import Missing, references, render
from corral.mcp.servers import Server
from corral.wire.agents import McpServer
from tests.mcp.kept import add_server, change_server, remove_server

ORG, OTHER_ORG = 1, 2


def a_server(**fields: Any) -> Server:
    given = {"no": 1, "id": "x", "name": "s", "transport": "stdio", "command": "c", "args": [], "url": None}
    return Server(**{**given, "env": {}, "headers": {}, **fields})


@pytest.mark.usefixtures("settings")
async def test_a_server_is_added_changed_and_removed() -> None:
    made = await add_server(ORG, new_id(), {"name": "files", "transport": "stdio", "command": "files-mcp"})
    assert (made.args, made.url, made.env, made.headers) == ([], None, {}, {})
    changed = await change_server(ORG, made.id, {"args": ["--root", "/srv"], "env": {"TOKEN": "${TOKEN}"}})
    assert (changed.command, changed.args, changed.env) == ("files-mcp", ["--root", "/srv"], {"TOKEN": "${TOKEN}"})
    assert await servers.page(ORG) == await servers.for_agent(ORG, None) == [changed]
    for missing in (
        change_server(OTHER_ORG, made.id, {"args": []}),
        remove_server(OTHER_ORG, made.id),
    ):
        with pytest.raises(NotFound):
            await missing
    await remove_server(ORG, made.id)
    assert await servers.for_agent(ORG, None) == []


@pytest.mark.usefixtures("settings")
async def test_a_name_is_one_servers_in_an_org() -> None:
    fields = {"name": "files", "transport": "stdio", "command": "c"}
    first = await add_server(ORG, new_id(), fields)
    second = await add_server(ORG, new_id(), {**fields, "name": "other"})
    await add_server(OTHER_ORG, new_id(), fields)
    for taken in (
        add_server(ORG, new_id(), fields),
        change_server(ORG, second.id, {"name": "files"}),
    ):
        with pytest.raises(Conflict, match="named files"):
            await taken
    made = await asyncio.gather(
        *[add_server(ORG, new_id(), {**fields, "name": "raced"}) for _ in range(5)], return_exceptions=True
    )
    assert len([one for one in made if isinstance(one, Server)]) == 1
    assert (await add_server(ORG, first.id, fields)).no == first.no  # a request that came twice


@pytest.mark.usefixtures("settings")
async def test_what_comes_of_a_change_is_valid_as_a_whole() -> None:
    made = await add_server(ORG, new_id(), {"name": "files", "transport": "stdio", "command": "c"})
    for change, field in (
        ({"transport": "http"}, "url"),
        ({"command": None}, "command"),
        ({"command": " "}, "command"),
        ({"name": "corral"}, "name"),
        ({"transport": "http", "url": "ftp://host"}, "url"),
        ({"transport": "http", "url": "https://"}, "url"),
        ({"transport": "http", "url": "https://host:99999/"}, "url"),
        ({"env": {"NOT-A-NAME": ""}}, "env.NOT-A-NAME"),
        ({"env": {"": ""}}, "env."),
        ({"headers": {"A B": ""}}, "headers.A B"),
        ({"headers": {"A": "one\r\ntwo"}}, "headers.A"),
    ):
        with pytest.raises(BadRequest) as refused:
            await change_server(ORG, made.id, change)
        assert refused.value.field == field
    assert await servers.get(ORG, made.id) == made
    moved = await change_server(ORG, made.id, {"transport": "http", "url": "https://host/mcp", "command": None})
    assert (moved.transport, moved.url, moved.command) == ("http", "https://host/mcp", None)


@pytest.mark.usefixtures("settings")
async def test_a_server_may_be_for_some_agents_or_for_teams() -> None:
    fields = {"transport": "stdio", "command": "c"}
    await add_server(ORG, new_id(), {**fields, "name": "everyones"})
    one = await add_server(ORG, new_id(), {**fields, "name": "ones", "enabled_for": "agents", "agents": ["ann"]})
    await add_server(ORG, new_id(), {**fields, "name": "teams", "enabled_for": "teams", "teams": ["red", "blue"]})

    async def given(agent: str | None, team: str | None) -> list[str]:
        return [server.name for server in await servers.for_agent(ORG, agent, team)]

    assert await given("ann", None) == ["everyones", "ones"]
    assert await given("ann", "red") == ["everyones", "ones", "teams"]
    assert await given("bob", "green") == ["everyones"]
    assert await given(None, None) == ["everyones"]
    with pytest.raises(BadRequest) as refused:
        await change_server(ORG, one.id, {"enabled_for": "teams"})
    assert refused.value.field == "teams"


def test_denying_wins_over_asking_and_that_over_allowing() -> None:
    server = McpServer("s", "stdio", allow=("*",), ask=("write_*", "read.me"), deny=("write_all",))
    found = [server.ruling(tool) for tool in ("list", "write_one", "write_all", "read.me", "read_me")]
    assert found == ["allow", "ask", "deny", "ask", "ask"]
    assert McpServer("s", "stdio", ask=("a",)).ruling("b") is None


@pytest.mark.usefixtures("settings")
async def test_changes_of_different_fields_at_once_both_last() -> None:
    made = await add_server(ORG, new_id(), {"name": "files", "transport": "stdio", "command": "c"})
    await asyncio.gather(change_server(ORG, made.id, {"args": ["a"]}), change_server(ORG, made.id, {"env": {"A": "b"}}))
    after = await servers.get(ORG, made.id)
    assert (after.args, after.env) == (["a"], {"A": "b"})


def test_references_are_replaced_in_env_and_headers_alone() -> None:
    values = {"TOKEN": "t$&\\1${OTHER}", "OTHER": "o"}
    stdio = a_server(args=["${TOKEN}"], env={"A": "x-${TOKEN}-${OTHER}", "B": "$TOKEN ${token} ${", "C": ""})
    http = a_server(name="h", transport="http", url="https://h/${TOKEN}", headers={"Authorization": "Bearer ${OTHER}"})
    (one, two), missing = render([stdio, http], values)
    assert missing == []
    assert one.env == {"A": "x-t$&\\1${OTHER}-o", "B": "$TOKEN ${token} ${", "C": ""}
    assert one.args == ("${TOKEN}",)
    assert two.url == "https://h/${TOKEN}"
    assert two.headers == {"Authorization": "Bearer o"}


def test_a_server_that_lacks_a_secret_is_left_out_and_what_it_lacks_is_named() -> None:
    lacking = a_server(name="lacking", env={"A": "${GONE} ${HERE} ${GONE}", "B": "${AWAY}"})
    rendered = render([lacking, a_server(name="fine", env={"A": "${HERE}"})], {"HERE": "h"})
    assert [server.name for server in rendered.servers] == ["fine"]
    assert rendered.missing == [Missing("lacking", "GONE"), Missing("lacking", "AWAY")]
    assert references(lacking) == ["GONE", "HERE", "AWAY"]
