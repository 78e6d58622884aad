"""Fixtures for everyone. Session-scoped ones are shared by the tests of one worker: leave them as you found them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from corral.platform import database
from corral.platform.settings import Settings
from tests.support import postgres as postgres_support
from tests.support import redis as redis_support
from tests.support import requirement, warm
from tests.support.cluster import Place
from tests.support.http import Api
from tests.support.model import Model
from tests.support.postgres import Postgres
from tests.support.processes import LIVING, end_all
from tests.support.redis import Redis
from tests.support.runner import Runner
from tests.support.server import Server
from tests.support.waiting import until_after_midnight

REPOSITORY = Path(__file__).parents[1]

# The same examples each time: a failure is about what changed, whoever sees it.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")

# Where a test calls what logs an exception, nobody has set the log up: structlog's own tracebacks, coloured and with
# all local variables, take half a second of processor time each.
structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> None:
    warm.cheapen_passwords()


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this worker."""
    return tmp_path_factory.mktemp("session")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this pytest run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path (Unix sockets, Claude's project names), gone after the test."""
    made = Path(tempfile.mkdtemp(prefix="corral-")).resolve()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def claude_binary() -> Path:
    return requirement.claude_binary()


@pytest.fixture(scope="session")
def postgres(run_folder: Path) -> Postgres:
    """A cluster for the whole pytest run."""
    return postgres_support.cluster(run_folder)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def migrated_postgres_url(postgres: Postgres) -> Iterator[str]:
    """A database as `corral migrate` leaves it."""
    with postgres.migrated(migrate) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file to copy: migrating takes longer than most tests of its tables."""
    folder = tmp_path_factory.mktemp("template")

    async def make() -> None:
        await database.connect(Settings(data=folder))
        await database.disconnect()

    asyncio.run(make())
    return folder / "corral.db"


def migrate(url: str) -> None:
    env = {**os.environ, "CORRAL_DATABASE_URL": url}
    command = [sys.executable, "-m", "corral", "migrate"]
    done = subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def redis(session_folder: Path) -> Iterator[Redis]:
    """A Redis of this worker, or the one that $CORRAL_TEST_REDIS_URL names."""
    server = redis_support.start(session_folder)
    yield server
    if server.process:
        server.process.stop()


@pytest.fixture
def own_redis(folder: Path) -> Iterator[Redis]:
    """A Redis of this test, which may be killed."""
    server = redis_support.start(folder, own=True)
    yield server
    if server.process:
        server.process.stop()


@pytest.fixture(scope="session")
def model(session_folder: Path) -> Iterator[Model]:
    """The scripted model server of this worker. It keeps no state between runs but its lists of what it served."""
    made = Model(session_folder)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def shared_server(session_folder: Path) -> Iterator[Server]:
    """A `corral serve` on SQLite. Make what you need in it; kill and change the settings of your own."""
    server = Server(session_folder / "server").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_runner(shared_server: Server, session_folder: Path, model: Model, claude_binary: Path) -> Iterator[Runner]:
    """A `corral runner` of the shared server, with the real Claude Code."""
    runner = make_runner(session_folder / "runner", shared_server, model, name="shared-runner", max_pods=8)
    runner.start()
    with shared_server.api() as api:
        runner.wait_online(api)
    yield runner
    runner.stop()


@pytest.fixture(scope="session")
def hand_server(session_folder: Path) -> Iterator[Server]:
    """A `corral serve` that only runners by hand are connected to; each has directories of its own."""
    server = Server(session_folder / "by-hand").start()
    yield server
    server.stop()


@pytest.fixture
def api(shared_server: Server) -> Iterator[Api]:
    """A caller of the shared server with the full key."""
    with shared_server.api() as caller:
        yield caller


ServerMaker = Callable[..., Server]
RunnerMaker = Callable[..., Runner]


@pytest.fixture
def make_server(folder: Path) -> Iterator[ServerMaker]:
    """Start servers of this test's own: `make_server(command="up", env={...})`."""
    made: list[Server] = []

    def make(*, started: bool = True, **options: Any) -> Server:
        server = Server(folder / f"server{len(made)}", **options)
        made.append(server)
        return server.start() if started else server

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def start_runner(folder: Path, model: Model, claude_binary: Path) -> Iterator[RunnerMaker]:
    """Start runners of this test's own, and wait until they are online: `start_runner(server, name="one")`."""
    made: list[Runner] = []

    def start(server: Place, *, online: bool = True, **options: Any) -> Runner:
        name = options.pop("name", f"runner-{len(made) + 1}")
        runner = make_runner(folder / name, server, model, name=name, **options).start()
        made.append(runner)
        if online:
            with server.api() as caller:
                runner.wait_online(caller)
        return runner

    yield start
    for runner in made:
        runner.stop()


def make_runner(folder: Path, server: Place, model: Model, **options: Any) -> Runner:
    env = {
        "CORRAL_MAX_PODS": str(options.pop("max_pods", 4)),
        "CORRAL_LABELS": ",".join(options.pop("labels", ())),
        **options.pop("env", {}),
    }
    key = options.pop("key", server.key)
    return Runner(folder, url=options.pop("url", server.url), key=key, model_url=model.url, env=env, **options)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    until_after_midnight()
    for process in LIVING:
        process.shown = len(process.output())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Show what the processes of a failed test wrote while it ran."""
    report = yield
    if report.failed:
        for process in LIVING:
            text = process.output()[process.shown :][-6000:]
            report.sections.append((f"{process.name} (exit code {process.exit_code})", text))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests say they measured (`record_property("measured", …)`), from whichever worker."""
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            if name == "measured":
                terminalreporter.write_line(f"measured: {value}")


def pytest_sessionfinish() -> None:
    end_all()
    warm.end()
