"""MCP servers from a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cli.conftest import Command
from tests.support import mcp_server
from tests.support.server import Server


def test_servers_are_listed_and_tested(corral: Command, hand_server: Server, tmp_path: Path) -> None:
    script = str(Path(str(mcp_server.__file__)).resolve())
    with hand_server.api() as api:
        words = {"name": "cli", "role": "r", "glyph": "C", "model": "m", "provider": "anthropic"}
        agent = api.post("/api/agents", body={**words, "name": "Cli tester"}).json()["id"]
        body = {"transport": "stdio", "command": sys.executable, "enabled_for": "agents", "agents": [agent]}
        env = {"MCP_PIDS": str(tmp_path / "pids")}
        made = [
            api.post("/api/mcps", body={**body, "name": name, "args": ["-P", script, *args], "env": env}).json()["id"]
            for name, args in (("cli-works", []), ("cli-fails", ["--fail"]))
        ]
        done = corral("mcps", "test", "cli-works", "--agent", "Cli tester", server=hand_server)
        assert done.code == 0, done.err
        assert "It works from the platform." in done.out
        assert "echo" in done.out
        failed = corral("mcps", "test", made[1], "--agent", agent, "--json", server=hand_server)
        assert (failed.code, failed.json()["ok"]) == (1, False)
        listed = corral("mcps", server=hand_server).out.splitlines()
        rows = {line.split()[0]: line for line in listed}
        assert "works" in rows["cli-works"]
        assert "Cli tester" in rows["cli-works"]
        assert "fails" in rows["cli-fails"]
        assert {one["name"] for one in corral("mcps", "--json", server=hand_server).json()} >= {"cli-works"}
        unknown = corral("mcps", "test", "nothing", server=hand_server)
        assert unknown.code == 1
        assert "There is no MCP server nothing" in unknown.err
        for server in made:
            api.delete("/api/mcps/:id", server)
