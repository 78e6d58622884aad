"""A signed-in browser window, and what goes wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

from tests.support.http import Api
from tests.support.server import Server
from tests.support.waiting import PATIENCE

#: What a browser writes by itself when a server is away or says no; everything else is a mistake of ours.
_EXPECTED = ("Failed to load resource", "net::ERR_", "TypeError: Failed to fetch")
_OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
PHONE = 390
DESK = 1440


class Console:
    """One window. `problems` collects what its scripts threw, and every breach of the content security policy."""

    def __init__(
        self, browser: Browser, server: Server, *, width: int = DESK, theme: str = "light", signed_in: bool = True
    ) -> None:
        self.server = server
        is_phone = width < 500
        self.context = browser.new_context(
            base_url=server.url,
            viewport={"width": width, "height": 844 if is_phone else 900},
            color_scheme="dark" if theme == "dark" else "light",
            has_touch=is_phone,
            is_mobile=is_phone,
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(30_000 * PATIENCE)
        self.problems: list[str] = []
        self.page = self._new_page()
        if signed_in:
            self.sign_in()

    def sign_in(self) -> None:
        """Use up a link as its page would, but without opening any."""
        answer = self.context.request.post(
            "/app/sign-in",
            form={"token": urlsplit(self.link()).fragment},
            headers={"Origin": self.server.url},
            max_redirects=0,
        )
        assert answer.status == 303, answer.text()

    def link(self) -> str:
        """A fresh way in."""
        with self.server.api() as api:
            return sign_in_link(api)

    def goto(self, path: str) -> Page:
        self.page.goto(path)
        return self.page

    def heading(self) -> Locator:
        return self.page.get_by_role("heading", level=1)

    def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        wider: int = self.page.evaluate(_OVERFLOW)
        return wider

    def themes(self) -> Iterator[str]:
        """Show the page as who likes it light sees it, and then as who likes it dark does."""
        for theme in THEMES:
            self.page.emulate_media(color_scheme=theme)
            yield theme

    def close(self) -> None:
        self.context.close()

    def _new_page(self) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.problems.append(f"{page.url}: {error}"))
        page.on("console", self._hear)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in _EXPECTED):
            self.problems.append(message.text)


def sign_in_link(api: Api) -> str:
    answer = api.post("/api/v1/sign-in-links")
    assert answer.status_code == 201, answer.text
    url: str = answer.json()["url"]
    return url
