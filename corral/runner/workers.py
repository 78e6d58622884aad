"""Worker processes: one a run, and one spare whose imports are done, once the first was needed."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import sys
from collections.abc import Mapping

import msgspec

from corral.base.logs import concealed, get_logger
from corral.runner import tree
from corral.runner.engines.protocol import FromWorker, ToWorker
from corral.runner.failure import Failure
from corral.runner.journal import Journal
from corral.wire.runs import Engine

#: Which module drives which CLI. `-P` keeps the current directory off the import path: it may hold anything.
COMMANDS: Mapping[Engine, tuple[str, ...]] = {
    Engine.CLAUDE_CODE: (sys.executable, "-P", "-m", "corral.runner.engines.claude"),
}
#: The longest line a worker may say. Its own events are far shorter; longer means that something is broken.
MOST_LINE_BYTES = 64 * 1024 * 1024
#: The spare starts so long after a run did, so that both do not want the processor at once.
SPARE_DELAY_SECONDS = 2.0
_STDERR_LINES = 40

log = get_logger()

_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)


class Worker:
    """A started worker process and the lines it speaks."""

    def __init__(self, process: asyncio.subprocess.Process, engine: Engine) -> None:
        """Take the process; its stderr is read from now on."""
        self.engine = engine
        self.process = process
        self.root = tree.identify(process.pid)  #: None when it died at once
        self._said: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
        self._listening = asyncio.create_task(self._listen(), name=f"stderr of {process.pid}")

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Tell whether the process has not ended, as far as we know."""
        return self.process.returncode is None

    def tell(self, line: ToWorker) -> bool:
        """Send one line; False when the worker no longer listens."""
        stdin = self.process.stdin
        if stdin is None or stdin.is_closing() or not self.is_alive:
            return False
        stdin.write(_encode(line) + b"\n")
        return True

    async def hear(self) -> FromWorker | None:
        """Return the next line, None at the end."""
        assert self.process.stdout is not None
        while True:
            try:
                data = await self.process.stdout.readline()
            except ValueError:
                log.warning("dropped a line that is far too long", worker=self.pid)
                continue
            if not data:
                return None
            try:
                return _decode.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.warning("a worker said something we don't know", worker=self.pid, error=str(error))

    def dismiss(self) -> None:
        """Close its stdin, which tells it to end."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    async def ended(self, within: float) -> bool:
        """Wait up to `within` seconds for the process to end; tell whether it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.process.wait()
        return not self.is_alive

    async def last_words(self) -> str:
        """Return the end of its stderr."""
        await asyncio.wait({self._listening}, timeout=0.5)
        return "\n".join(self._said)

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        while True:
            try:
                data = await self.process.stderr.readline()
            except ValueError:
                continue
            if not data:
                return
            # Masked before it is cut: half of a secret is not found any more.
            text = concealed(data.decode("utf-8", "replace").rstrip())[:2000]
            self._said.append(text)
            log.debug("worker", pid=self.pid, says=text)


class Workers:
    """Starts workers. All of one runner have the same scrubbed environment, so a spare fits any run."""

    def __init__(
        self, env: Mapping[str, str], journal: Journal, commands: Mapping[Engine, tuple[str, ...]] = COMMANDS
    ) -> None:
        """Take the scrubbed environment, and where to note the processes that were started."""
        self._env = dict(env)
        self._journal = journal
        self._commands = commands
        self._spare: Worker | None = None
        self._making: asyncio.Task[None] | None = None
        self._closed = False

    async def take(self, engine: Engine, run_id: str) -> Worker:
        """Return a worker for a run: the spare, if it lives and fits, else a new one."""
        spare = self._spare
        if spare is not None and spare.engine == engine and spare.is_alive:
            self._spare = None
            worker = spare
        else:
            worker = await self._spawn(engine)
        if worker.root is not None:
            self._journal.started(worker.root, run_id)
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make_spare(engine), name="spare worker")
        return worker

    def pids(self) -> set[int]:
        """Return the spare's process id, if there is one."""
        return {self._spare.pid} if self._spare is not None else set()

    async def close(self) -> None:
        """End the spare."""
        self._closed = True
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        spare, self._spare = self._spare, None
        if spare is not None and spare.root is not None:
            spare.dismiss()
            await tree.end([spare.root], grace=0.5)

    async def _make_spare(self, engine: Engine) -> None:
        await asyncio.sleep(SPARE_DELAY_SECONDS)
        if self._closed or (self._spare is not None and self._spare.is_alive):
            return
        try:
            self._spare = await self._spawn(engine)
        except Failure as failure:
            log.warning("no spare worker", why=failure.message)
        else:
            if self._spare.root is not None:
                self._journal.started(self._spare.root)

    async def _spawn(self, engine: Engine) -> Worker:
        command = self._commands.get(engine)
        if command is None:
            raise Failure("engine_missing", f"This runner cannot drive {engine}", "Choose another engine or runner.")
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._env,
                cwd="/",
                start_new_session=True,  # a ^C in our terminal is ours to hand on
                limit=MOST_LINE_BYTES,
            )
        except OSError as error:
            raise Failure("worker_not_started", f"The worker process could not be started: {error}") from error
        return Worker(process, engine)
