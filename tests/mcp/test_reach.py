"""What agents inside the platform may start on its machine and call in its network is the operator's to say."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import httpx2
import pytest

from corral.base.errors import BadRequest
from corral.mcp import reach
from corral.mcp.client import connect
from corral.mcp.far import _Pinned
from corral.mcp.link import Unreachable
from corral.mcp.pool import Pool, User
from corral.mcp.reach import NotAllowed, Reach
from corral.platform.settings import from_env
from corral.wire.agents import McpServer
from tests.mcp.probe import BAD, Probe

ADA = User(1, "ada", "run")
PRIVATE = (
    "127.0.0.1", "127.9.9.9", "localhost", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "::1", "::", "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "224.0.0.1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = reach.current()
    yield
    reach._current = before


def told(**env: str) -> Reach:
    """What is allowed under settings."""
    reach.use(from_env(env, data=Path("/nowhere")))
    return reach.current()


def test_everything_goes_with_the_database_of_the_data_directory_and_nothing_private_with_another() -> None:
    shared = "postgres://u:p@host/d"
    assert (told().stdio, told().is_limited) == (True, False)
    assert (told(CORRAL_DATABASE_URL=shared).stdio, told(CORRAL_DATABASE_URL=shared).hosts) == (False, ())
    assert told(CORRAL_DATABASE_URL=shared, CORRAL_PROVIDER_STDIO="on").stdio
    assert not told(CORRAL_PROVIDER_STDIO="off").stdio
    assert not told(CORRAL_DATABASE_URL=shared, CORRAL_PROVIDER_HOSTS="*").is_limited
    hosts = told(CORRAL_PROVIDER_HOSTS="10.0.0.0/8, 192.0.2.7 MCP.corp").hosts
    assert hosts == (ip_network("10.0.0.0/8"), ip_network("192.0.2.7"), "mcp.corp")
    for name, value in (("CORRAL_PROVIDER_STDIO", "maybe"), ("CORRAL_PROVIDER_HOSTS", "10.0.0.0/99")):
        with pytest.raises(BadRequest) as refused:
            told(**{name: value})
        assert refused.value.field == name


@pytest.mark.parametrize("host", PRIVATE)
async def test_what_is_not_on_the_internet_is_called_only_if_it_is_named(host: str) -> None:
    with pytest.raises(NotAllowed, match="CORRAL_PROVIDER_HOSTS"):
        await Reach(hosts=()).addresses(host, 80)
    with pytest.raises(NotAllowed):
        await Reach(hosts=("other.host", ip_network("192.0.2.0/24"))).addresses(host, 80)
    assert await Reach(hosts=(host,)).addresses(host, 80)
    assert await Reach(hosts=(ip_network("0.0.0.0/0"), ip_network("::/0"))).addresses(host, 80)


async def test_what_is_on_the_internet_may_be_called() -> None:
    assert await Reach(hosts=()).addresses("93.184.216.34", 443) == ["93.184.216.34"]


async def test_a_server_that_may_not_be_called_is_not(probe: Probe) -> None:
    async with probe.http("none", script=BAD) as (server, _):
        for hosts, is_allowed in (((), False), ((ip_network("127.0.0.0/8"),), True)):
            named = McpServer("probe", "http", url=str(server.url).replace("127.0.0.1", "localhost"))
            pool = Pool(Reach(hosts=hosts))
            if is_allowed:
                async with connect(named, ADA, pool) as session:
                    assert "listed 1 times" in (await session.call("tell", {})).text
            else:
                with pytest.raises(Unreachable, match="localhost is not on the public internet"):
                    async with connect(named, ADA, pool):
                        pass
            await pool.close()


async def test_a_command_is_not_started_where_none_may_be(probe: Probe) -> None:
    pool = Pool(Reach(stdio=False))
    with pytest.raises(Unreachable, match="CORRAL_PROVIDER_STDIO"):
        async with connect(probe.stdio("none", script=BAD), ADA, pool):
            pass
    assert probe.pids() == []


async def test_what_is_called_is_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the name, which may stand for another address a moment later."""
    asked: list[httpx2.Request] = []

    async def addresses(_reach: Reach, _host: str, _port: int) -> list[str]:
        return ["192.0.2.1", "192.0.2.2"]

    async def answer(_transport: object, request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        if request.url.host == "192.0.2.1":
            raise httpx2.ConnectError("nobody there", request=request)
        return httpx2.Response(200, text="there")

    monkeypatch.setattr(Reach, "addresses", addresses)
    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", answer)
    async with httpx2.AsyncClient(transport=_Pinned(Reach(hosts=()))) as client:
        response = await client.post("https://mcp.example/mcp", content=b"{}")
    assert response.text == "there"
    assert response.request.url == "https://mcp.example/mcp"
    assert [request.url.host for request in asked] == ["192.0.2.1", "192.0.2.2"]
    assert {request.headers["host"] for request in asked} == {"mcp.example"}
    assert {request.extensions["sni_hostname"] for request in asked} == {"mcp.example"}


async def test_a_redirect_to_elsewhere_is_not_followed(probe: Probe) -> None:
    pool = Pool()
    async with probe.http("none", script=BAD) as (server, _):
        elsewhere = str(server.url).replace("127.0.0.1", "localhost")
        with pytest.raises(Unreachable, match="not followed"):
            async with connect(McpServer("probe", "http", url=f"{server.url}?to={elsewhere}"), ADA, pool):
                pass
    await pool.close()
