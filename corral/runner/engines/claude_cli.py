"""Claude Code's process under the SDK's client: how it is started for an assignment, and how its whole tree ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from corral.runner import tree
from corral.runner.engines import claude_tools
from corral.runner.engines.claude_guard import Guard
from corral.runner.engines.claude_sdk import ClaudeAgentOptions, CLINotFoundError, SubprocessCLITransport
from corral.runner.engines.claude_tools import ToolServer
from corral.runner.engines.stdio import log
from corral.wire.runner import Assignment

#: One message may hold a whole file.
_LARGEST_MESSAGE = 256 * 1024 * 1024
_LAST_WORDS = 20
#: To write its session to disk, the CLI needs some 0.1 s.
_FLUSH_SECONDS = 1.0
#: At SIGTERM it gives a running command up to 1.5 s.
_GRACE_SECONDS = 2.5
#: What it leaves behind gets a SIGTERM of its own, then SIGKILL; all of that in so long.
_TERM_SECONDS = 0.5
_END_SECONDS = 2.5
_CONTROL = frozenset({"control_request", "control_response", "control_cancel_request"})


def options(
    assignment: Assignment, env: Mapping[str, str], guard: Guard, *, hooks: Mapping[Any, Any], servers: Path | None
) -> ClaudeAgentOptions:
    """Return how to start Claude Code: as its user would, in their settings, with what the assignment adds."""
    path = env.get("CLAUDE_CLI_PATH") or os.environ.get("CLAUDE_CLI_PATH")
    preset: Any = {"type": "preset", "preset": "claude_code"}
    if assignment.system_prompt:
        preset["append"] = assignment.system_prompt
    return ClaudeAgentOptions(
        cwd=assignment.cwd,
        cli_path=path,
        env=dict(env),
        permission_mode=assignment.permission_mode.value,
        model=assignment.model,
        max_turns=assignment.limits.max_turns,
        allowed_tools=[*assignment.allowed_tools, *(claude_tools.NAMES if assignment.agent is not None else [])],
        mcp_servers=servers or {},
        system_prompt=preset,
        setting_sources=["user", "project", "local"],
        resume=assignment.session_id,
        fork_session=assignment.fork and assignment.session_id is not None,
        include_partial_messages=True,
        forward_subagent_text=True,
        max_buffer_size=_LARGEST_MESSAGE,
        can_use_tool=guard.permit,
        disallowed_tools=guard.disallowed,
        hooks={**guard.hooks, **hooks} or None,
    )


class Cli(SubprocessCLITransport):
    """The process. The conversation goes to `on_message` as it came; only the control channel is left to the SDK.

    The SDK's own messages leave out which messages were answered and what was spent since the last result.
    """

    def __init__(
        self,
        chosen: ClaudeAgentOptions,
        run_id: str,
        *,
        tools: ToolServer,
        on_start: Callable[[int], None],
        on_message: Callable[[Mapping[str, Any]], None],
        on_end: Callable[[], None],
    ) -> None:
        """Take how to start it, its mark, our tools, and whom to tell of its pid, its messages, and of its end."""
        self._run_id = run_id
        self._tools = tools
        self.last_words: deque[str] = deque(maxlen=_LAST_WORDS)  #: of its stderr
        self.error: Exception | None = None  #: what ended its output, if that was not in order
        self._on_start, self._on_message, self._on_end = on_start, on_message, on_end
        super().__init__(
            prompt=_nothing(), options=replace(chosen, permission_prompt_tool_name="stdio", stderr=self._heard)
        )

    @property
    def pid(self) -> int | None:
        """The process, once it runs."""
        return self._process.pid if self._process else None

    async def connect(self) -> None:
        """Start the process."""
        if self._cli_path is not None and not os.access(self._cli_path, os.X_OK):
            raise CLINotFoundError("Claude Code not found", self._cli_path)
        await super().connect()
        if self.pid is not None:
            self._on_start(self.pid)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Hand on what is the SDK's, tell the rest. The end is told as well, so the SDK need not make it an error."""
        try:
            async for raw in super().read_messages():
                if raw.get("type") not in _CONTROL:
                    self._tell(raw)
                elif not await self._tools.take(raw):
                    yield raw
        except Exception as error:  # noqa: BLE001 - kept for whoever tells how the attempt ended
            self.error = error
        finally:
            self._on_end()

    async def end(self, *, at_once: bool) -> None:
        """End the process and all that came of it, within some 6 seconds.

        The end of its stdin makes the CLI finish what it does, write its session to disk, and wait for commands in
        the background, which may never end. `at_once` it must not go on: SIGTERM leaves a session that says the work
        was cut off, not that a person refused it.
        """
        process = self._process
        if process is not None and process.returncode is None and not at_once:
            with suppress(Exception), anyio.move_on_after(_FLUSH_SECONDS):
                await self.end_input()
                await process.wait()
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError), anyio.move_on_after(_GRACE_SECONDS):
                process.terminate()
                await process.wait()
        worker = tree.identify(os.getpid())
        assert worker is not None
        try:
            async with asyncio.timeout(_END_SECONDS):
                await tree.end([worker], [self._run_id], grace=_TERM_SECONDS)  # all below us; we are left out
        except (TimeoutError, tree.StillAliveError) as error:
            log(f"Some processes would not end: {error}")

    def reap_orphans(self) -> None:
        """Collect what the CLI left to us and has ended. The CLI itself is the SDK's to collect."""
        with suppress(ChildProcessError):
            while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if dead.si_pid == self.pid or self.pid is None:
                    return
                os.waitpid(dead.si_pid, os.WNOHANG)

    def _build_command(self) -> list[str]:
        """Let the kernel end the CLI with us, where it can: at the end of its stdin it would finish its work first."""
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        return [*([setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []), *super()._build_command()]

    def _tell(self, raw: Mapping[str, Any]) -> None:
        try:
            self._on_message(raw)
        except Exception as error:  # noqa: BLE001 - a message of a new shape must not end the run
            log(f"Could not understand a message of type {raw.get('type')}: {error!r}")

    def _heard(self, line: str) -> None:
        log(line)
        self.last_words.append(line)


async def _nothing() -> AsyncIterator[dict[str, Any]]:
    """A prompt stream that ends at once: prompts are sent one by one."""
    for message in list[dict[str, Any]]():
        yield message
