"""A real server of this process, in a thread of its own, so that its inside can be reached and its parts replaced."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from corral.base.ids import new_id
from corral.platform import sign_in
from corral.platform.database import fetch
from corral.platform.settings import Settings
from corral.web import csrf
from corral.web.app import serve
from corral.web.cookies import COOKIE
from corral.web.server import Server
from tests.support.http import Api
from tests.support.waiting import PATIENCE


class Running:
    """A server that serves until `stop`."""

    #: A file with all tables: migrating takes longer than most of what is asked of a server here.
    tables: Path | None = None

    def __init__(self, data: Path, **settings: Any) -> None:
        if self.tables is not None and not settings.get("database_url") and not (data / "corral.db").exists():
            data.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.tables, data / "corral.db")
        self._settings = Settings(data=data, port=0, **{"rate_limit": 0, **settings})
        self._started = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(60)
        if self._failed:
            raise self._failed

    def api(self, key: str | None = "") -> Api:
        """A caller with the full key, or the given one (None: without)."""
        return Api(self.server.settings.url, self.server.bootstrapped.new_key if key == "" else key)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._done.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised by who waits
            self._failed = error
            self._started.set()

    async def _serve(self) -> None:
        self.loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with serve(self._settings) as server:
            self.server: Server = server
            self._started.set()
            await self._done.wait()


@pytest.fixture(scope="session", autouse=True)
def tables(migrated_sqlite: Path) -> None:
    Running.tables = migrated_sqlite


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of this module. Tests that stop one make their own."""
    made = Running(tmp_path_factory.mktemp("web"))
    yield made
    made.stop()


@pytest.fixture
def full(running: Running) -> Iterator[Api]:
    """A caller with the full key."""
    with running.api() as caller:
        yield caller


class Person:
    """Somebody in a browser without scripts: reads pages, and sends their forms."""

    def __init__(self, running: Running, role: str) -> None:
        async def signed_in() -> tuple[str, str]:
            user = new_id()
            query = "INSERT INTO users (id, org_id, name, role, created_at) VALUES ($1, 1, $2, $2, 0)"
            await fetch(query, user, role)
            session = await sign_in.redeem((await sign_in.make_link(1, user)).token)
            principal = await sign_in.authenticate(session)
            assert principal is not None
            return session, csrf.token(principal)

        session, self._csrf = running.do(signed_in())
        url = running.server.settings.url.rstrip("/")
        self.client = httpx.Client(
            base_url=url, cookies={COOKIE: session}, headers={"Origin": url}, trust_env=False, timeout=10 * PATIENCE
        )

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def reload(self) -> None:
        """Get a page anew, with forms of the org that is looked at now."""
        found = re.search(r'name="csrf" value="(\w+)"', self.get("/app/profile"))
        assert found is not None
        self._csrf = found[1]

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return self.client.post(path, data={"csrf": self._csrf, **fields})


@pytest.fixture
def person(running: Running) -> Iterator[Callable[[str], Person]]:
    """Sign somebody in: `person("viewer")`."""
    made: list[Person] = []

    def make(role: str) -> Person:
        made.append(Person(running, role))
        return made[-1]

    yield make
    for one in made:
        one.client.close()
