"""An empty, migrated database of either kind, and a real MCP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from corral.wire.agents import McpServer
from tests.mcp.probe import Probe
from tests.platform.conftest import settings

__all__ = ["settings"]


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    monkeypatch.setattr("corral.mcp.link._GRACE", 0.3)
    made = Probe(tmp_path)
    yield made
    made.kill()


@pytest.fixture(params=["stdio", "http"])
async def server(request: pytest.FixtureRequest, probe: Probe) -> AsyncIterator[McpServer]:
    async with probe.over(request.param) as served:
        yield served
