"""A scripted model for each test, and the real Claude Code binary in front of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from corral.demo.server import ModelServer, serving
from tests.support import waiting
from tests.support.runner import SHORT_LIVED

#: longer than any run here takes, even on a busy machine
PATIENCE = 60.0 * waiting.PATIENCE


@pytest.fixture
async def scripted() -> AsyncIterator[ModelServer]:
    async with serving(port=0, pace=0) as server:
        yield server


@pytest.fixture
async def http(scripted: ModelServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=scripted.url, headers={"x-api-key": "any"}, timeout=PATIENCE) as client:
        yield client


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that happens in a while."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event to set
            await asyncio.sleep(0.02)


class Claude:
    """Claude Code in an environment, config directory and working directory of its own."""

    def __init__(self, binary: Path, home: Path, url: str) -> None:
        self.binary = binary
        self.started: list[asyncio.subprocess.Process] = []
        self.cwd = home / "work"
        self.cwd.mkdir()
        self.env = {
            **SHORT_LIVED,
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "CLAUDE_CONFIG_DIR": str(home / "config"),
            "ANTHROPIC_API_KEY": "sk-ant-dummy",
            "ANTHROPIC_BASE_URL": url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "IS_SANDBOX": "1",
        }

    async def start(self, prompt: str, *options: str) -> asyncio.subprocess.Process:
        """A one-shot run; it may do anything."""
        process = await asyncio.create_subprocess_exec(
            self.binary,
            *("-p", prompt, "--output-format", "stream-json", "--verbose", "--permission-mode", "bypassPermissions"),
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**24,
            cwd=self.cwd,
            env=self.env,
        )
        self.started.append(process)
        return process

    async def run(self, prompt: str, *options: str) -> "Told":
        """A one-shot run to its end."""
        process = await self.start(prompt, *options)
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate()
        return Told([json.loads(line) for line in out.splitlines() if line.startswith(b"{")])


class Told:
    """What a run told, message by message."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages = messages

    @property
    def result(self) -> dict[str, Any]:
        return next(message for message in self.messages if message["type"] == "result")

    @property
    def session(self) -> str:
        return str(self.result["session_id"])

    def blocks(self, kind: str) -> list[dict[str, Any]]:
        """All content blocks of a type: text, thinking, tool_use, tool_result."""
        return [
            block
            for message in self.messages
            if message["type"] in ("assistant", "user") and isinstance(message["message"]["content"], list)
            for block in message["message"]["content"]
            if block["type"] == kind
        ]

    def texts(self) -> list[str]:
        return [block["text"] for block in self.blocks("text")]


@pytest.fixture
async def claude(claude_binary: Path, tmp_path: Path, scripted: ModelServer) -> AsyncIterator[Claude]:
    claude = Claude(claude_binary, tmp_path, scripted.url)
    yield claude
    for process in claude.started:
        if process.returncode is None:
            process.kill()
            await process.wait()
