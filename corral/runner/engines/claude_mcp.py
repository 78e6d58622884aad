"""The MCP servers of a run, as Claude Code is told of them: in a file, as anybody may read arguments."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from corral.runner.engines import claude_tools
from corral.wire.agents import McpServer
from corral.wire.runner import Assignment
from corral.wire.tools import SERVER

#: How long a tool may take where the run has no limit of silence; Claude Code itself would wait for a day, and say
#: meanwhile that it waits, so that no clock of silence would run out.
CALL_SECONDS = 600.0


def write(assignment: Assignment, folder: Path) -> Path | None:
    """Write the file and return its path; None for a run that gets no servers."""
    seconds = assignment.limits.idle_seconds or CALL_SECONDS
    servers = {server.name: {**_shown(server), "timeout": int(seconds * 1000)} for server in assignment.mcp_servers}
    if assignment.agent is not None:
        servers[SERVER] = claude_tools.CONFIG
    if not servers:
        return None
    path = folder / "mcp.json"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump({"mcpServers": servers}, file)
    return path


def _shown(server: McpServer) -> dict[str, Any]:
    if server.transport == "http":
        return {"type": "http", "url": server.url, "headers": server.headers}
    return {"type": "stdio", "command": server.command, "args": list(server.args), "env": server.env}
