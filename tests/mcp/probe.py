"""A real MCP server of a test: started where its transport says so, with the pids of all that were started."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

from corral.wire.agents import McpServer
from tests.support import bad_mcp, mcp_server
from tests.support.processes import Process, base_env, free_port, is_alive
from tests.support.waiting import eventually

GOOD, BAD = mcp_server, bad_mcp


class Probe:
    """The server, and what is left of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pids_file = folder / "pids"
        self.env = {mcp_server.PIDS: str(self.pids_file)}

    def stdio(self, *args: str, script: ModuleType = GOOD, **env: str) -> McpServer:
        words = ("-P", str(script.__file__), *args)
        return McpServer("probe", "stdio", command=sys.executable, args=words, env={**self.env, **env})

    @asynccontextmanager
    async def http(self, *args: str, script: ModuleType = GOOD, **env: str) -> AsyncIterator[tuple[McpServer, Process]]:
        port = free_port()
        process = Process(
            "mcp server",
            [sys.executable, "-P", str(script.__file__), *args, "--http", str(port)],
            env={**base_env(self.folder), **self.env, **env},
            log=self.folder / "http.log",
            cwd=self.folder,
        )
        await asyncio.to_thread(start, process, port)
        try:
            yield McpServer("probe", "http", url=f"http://127.0.0.1:{port}/mcp"), process
        finally:
            await asyncio.to_thread(process.stop)

    @asynccontextmanager
    async def over(self, transport: str, *args: str, script: ModuleType = GOOD) -> AsyncIterator[McpServer]:
        if transport == "stdio":
            yield self.stdio(*args, script=script)
            return
        async with self.http(*args, script=script) as (server, _):
            yield server

    def pids(self) -> list[int]:
        return [int(line) for line in self.pids_file.read_text().split()] if self.pids_file.exists() else []

    def living(self) -> list[int]:
        return [pid for pid in self.pids() if is_alive(pid)]

    def kill(self) -> None:
        for pid in self.living():
            os.kill(pid, signal.SIGKILL)


def start(process: Process, port: int) -> None:
    def answers() -> bool:
        assert process.is_running(), process.output()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    process.start()
    eventually(answers, what="the MCP server listens")
