"""Fleets: one shared by the tests of a worker, and ones of a test's own, which may be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.fleet import Fleet
from tests.support.model import Model
from tests.support.runner import Runner
from tests.support.server import Server

FleetMaker = Callable[..., Fleet]


@pytest.fixture
def fleet(shared_server: Server, shared_runner: Runner, model: Model) -> Iterator[Fleet]:
    """Server and runner that other tests use as well: leave both alive."""
    made = Fleet(shared_server, shared_runner, model)
    yield made
    made.api.close()


@pytest.fixture
def make_fleet(make_server: ServerMaker, start_runner: RunnerMaker, model: Model) -> FleetMaker:
    """A server and runner of this test's own: `make_fleet(server_env={...}, max_pods=1)`."""

    def make(*, server_env: dict[str, str] | None = None, **runner: Any) -> Fleet:
        server = make_server(env=server_env)
        return Fleet(server, start_runner(server, **runner), model)

    return make
