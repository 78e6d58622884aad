"""How runs found MCP servers is kept by machine, for as long as the server is there."""

from __future__ import annotations

import pytest

from corral.base.errors import Unavailable
from corral.base.ids import new_id
from corral.mcp import uses
from corral.mcp.servers import Server
from corral.mcp.uses import Seen, Use
from corral.platform import database
from corral.platform.database import Unit, fetch
from tests.mcp.kept import add_server, remove_server

ORG, OTHER_ORG = 1, 2
RUN = new_id()

pytestmark = pytest.mark.usefixtures("settings")


async def a_server(org_id: int = ORG, name: str = "files") -> Server:
    return await add_server(org_id, new_id(), {"name": name, "transport": "stdio", "command": "c"})


async def known(server: Server, org_id: int = ORG) -> list[Use]:
    return (await database.commit(uses.of(org_id, [server.no])))[server.no]


async def test_the_newest_of_each_machine_is_kept_by_the_servers_id_or_name() -> None:
    server, other = await a_server(), await a_server(name="other")
    theirs = await a_server(OTHER_ORG)
    await uses.note(ORG, "one", "run-1", [Seen("files", "no such\0 file"), Seen("unknown", None)])
    await uses.note(ORG, "two", "run-2", [Seen(server.id, None)])
    assert [(use.machine, use.error, use.run_id) for use in await known(server)] == [
        ("two", None, "run-2"),
        ("one", "no such file", "run-1"),
    ]
    await uses.note(ORG, "one", "run-3", [Seen(server.id, None)])
    assert {(use.machine, use.error, use.run_id) for use in await known(server)} == {
        ("one", None, "run-3"),
        ("two", None, "run-2"),
    }
    assert await known(other) == await known(theirs, OTHER_ORG) == await known(server, OTHER_ORG) == []


async def test_it_goes_with_the_server_and_comes_from_no_run_after_that() -> None:
    server = await a_server()
    await uses.note(ORG, "one", RUN, [Seen(server.id, None)])
    await remove_server(ORG, server.id)
    await uses.note(ORG, "one", RUN, [Seen(server.id, None), Seen("files", None)])
    assert await fetch("SELECT * FROM mcp_uses") == []


async def test_no_run_is_troubled_if_it_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_unit: Unit[None]) -> None:
        raise Unavailable

    monkeypatch.setattr(uses, "commit", away)
    await uses.note(ORG, "one", RUN, [Seen("files", None)])
