"""Browsers for the tests of the console: one Chromium a module, one context a test, and nobody signs in by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.console import Console
from tests.support import requirement
from tests.support.server import Server
from tests.support.waiting import PATIENCE

expect.set_options(timeout=30_000 * PATIENCE)

#: It must not call home: the tests know no network beyond loopback.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

ConsoleMaker = Callable[..., Console]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A Chromium for this module: Playwright's loop must be gone before the next module's coroutines run."""
    binary = requirement.chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_console(chromium: Browser) -> Iterator[ConsoleMaker]:
    """Open a signed-in console of a server: `open_console(server, width=390, theme="dark")`."""
    made: list[Console] = []

    def make(server: Server, **options: object) -> Console:
        console = Console(chromium, server, **options)  # type: ignore[arg-type] # passed through
        made.append(console)
        return console

    yield make
    for console in made:
        console.close()
    for console in made:
        assert console.problems == []


@pytest.fixture
def console(open_console: ConsoleMaker, shared_server: Server) -> Console:
    """A console of the shared server on a desk's screen."""
    return open_console(shared_server)
