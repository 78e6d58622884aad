"""Does the server know us? Waits for it, registers, and notices when it goes and comes back."""

from __future__ import annotations

import asyncio
import platform
import sys
import time
from collections.abc import Callable

import corral
from corral.base.backoff import Backoff
from corral.base.errors import CorralError
from corral.base.logs import get_logger
from corral.runner.client import Client, Refused, Retryable
from corral.runner.settings import Settings
from corral.wire.runner import Cli, Register, Registered

#: A namesake that has just died counts as alive for one lease.
NAME_TAKEN_SECONDS = 120.0
#: A server that refuses us after we were registered is asked again so often.
REFUSED_SECONDS = 30.0
#: A session that is taken so soon after it began: once it may be our own echo, a registration that was under way long.
STOLEN_SECONDS = 60.0

log = get_logger()


class NotWelcomeError(CorralError):
    """The server does not take this runner."""


class Session:
    """The session of this process at the server."""

    def __init__(self, settings: Settings, uid: str, client: Client, on_back: Callable[[], None]) -> None:
        """Take who we are, and whom to tell when the server is back after it was away."""
        self.given = Registered(0, "")
        self.is_away = False
        self._settings = settings
        self._uid = uid
        self._client = client
        self._on_back = on_back
        self._since = 0.0
        self._was_stolen = False  # the session before, soon after it began

    async def wait_for_server(self) -> None:
        """Return when the server answers. NotWelcomeError: what answers is none."""
        backoff = Backoff(first=0.1, most=10.0)
        while True:
            try:
                await self._client.is_up()
                break
            except Retryable as error:
                self.note_away(error)
                await asyncio.sleep(max(backoff.next(), error.after))
            except Refused as refusal:
                raise NotWelcomeError(
                    f"{self._settings.url} does not look like a Corral server ({refusal.message}); check CORRAL_URL"
                ) from refusal
        self.note_back()

    async def begin(self, clis: list[Cli]) -> None:
        """Register. NotWelcomeError, at a process's first time, if the server does not want us."""
        backoff, begun, is_first = Backoff(), time.monotonic(), not self.given.session
        while True:
            try:
                self.given = await self._client.register(self._introduction(clis))
                break
            except Retryable as error:
                self.note_away(error)
                await asyncio.sleep(max(backoff.next(), error.after))
            except Refused as refusal:
                is_patient = refusal.status == 409 and time.monotonic() - begun < NAME_TAKEN_SECONDS
                if is_first and not is_patient:
                    raise NotWelcomeError(_why_not(refusal, self._settings)) from refusal
                log.warning("the server does not register us; trying again", **refusal.told)
                await asyncio.sleep(max(backoff.next(), 5.0 if is_patient else REFUSED_SECONDS))
        self._since = time.monotonic()
        self.note_back()
        log.info(
            "registered",
            server=self._settings.url,
            runner=self.given.id,
            name=self._settings.name,
            allowed_dirs=list(self._settings.allowed_dirs),
            clis=[f"{cli.engine} {cli.version}{'' if cli.signed_in else ' (not signed in)'}" for cli in clis],
        )

    async def begin_again(self, clis: list[Cli], refusal: Refused) -> None:
        """The server does not know our session any more. NotWelcomeError: another process goes by our identity."""
        is_stolen = refusal.status == 409 and time.monotonic() - self._since < STOLEN_SECONDS
        if is_stolen and self._was_stolen:
            raise NotWelcomeError(
                f"Another process is registered as this runner: was {self._settings.data} copied to another machine?"
                " Give each runner a CORRAL_DATA of its own"
            )
        self._was_stolen = is_stolen
        log.warning("the server does not know this session; registering anew", **refusal.told)
        await self.begin(clis)

    def note_away(self, error: Retryable) -> None:
        """Say once that the server went away."""
        if not self.is_away:
            self.is_away = True
            log.warning("the server is away; trying again", **error.told)

    def note_back(self) -> None:
        """Say once that it is back, and let whoever waits for it go on."""
        if self.is_away:
            self.is_away = False
            log.info("the server is back")
            self._on_back()

    def _introduction(self, clis: list[Cli]) -> Register:
        return Register(
            uid=self._uid,
            name=self._settings.name,
            os=_os(),
            arch=_arch(),
            version=corral.__version__,
            allowed_dirs=list(self._settings.allowed_dirs),
            labels=list(self._settings.labels),
            max_pods=self._settings.max_pods,
            clis=clis,
        )


def _why_not(refusal: Refused, settings: Settings) -> str:
    match refusal.status:
        case 401:
            return f"{settings.url} does not know this CORRAL_API_KEY; make one with `corral keys create --runner`"
        case 403:
            return f"This CORRAL_API_KEY may not register runners: {refusal.message}"
        case 409:
            return f"{refusal.message} (RUNNER_NAME is {settings.name!r})"
        case _:
            return f"{settings.url} does not take this runner: {refusal.message}"


def _os() -> str:
    return {"win32": "windows"}.get(sys.platform, sys.platform)


def _arch() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
