"""MCP servers from a terminal."""

from __future__ import annotations

import sys
import uuid

import pytest

from tests.cli.conftest import Command
from tests.support import bad_mcp
from tests.support.server import Server


@pytest.fixture
def name() -> str:
    return f"cli-{uuid.uuid4().hex[:8]}"


def test_a_server_is_added_tested_ruled_enabled_and_removed(corral: Command, hand_server: Server, name: str) -> None:
    start = ("--env", "A=b=${TOKEN}", "--deny", "grow", "--", sys.executable, "-P", str(bad_mcp.__file__), "none")
    added = corral("mcps", "add", name, *start, server=hand_server)
    assert (added.code, "Added" in added.out) == (0, True), added.err
    (shown,) = [one for one in corral("mcps", "--json", server=hand_server).json() if one["name"] == name]
    assert (shown["env"], shown["args"], shown["deny"]) == ({"A": "b=${TOKEN}"}, list(start[-3:]), ["grow"])
    inside = {"name": f"agent-{name}", "role": "r", "glyph": "🤖", "provider": "anthropic", "model": "m"}
    with hand_server.api() as api:
        api.post("/api/agents", body=inside).raise_for_status()
    test = ("mcps", "test", name, "--agent", inside["name"])
    failed = corral(*test, server=hand_server)
    assert failed.code == 1
    assert "TOKEN" in failed.err
    with hand_server.api() as api:
        api.patch("/api/mcps/:id", shown["id"], body={"env": None}).raise_for_status()
    tested = corral(*test, server=hand_server)
    assert tested.code == 0, tested.err
    assert [line.split()[:2] for line in tested.out.splitlines()[2:5]] == [
        ["go", "by"],
        ["tell", "by"],
        ["grow", "deny"],
    ]
    ruled = corral(
        "mcps", "tools", name, "--ask", "go", "--allow", "t*", "--leave", "grow", "--json", server=hand_server
    )
    assert {tool["name"]: tool["ruling"] for tool in ruled.json()["tools"]} == {
        "go": "ask",
        "tell": "allow",
        "grow": None,
    }
    assert (ruled.json()["ask"], ruled.json()["deny"]) == (["go"], [])
    assert (
        "is for team red, blue"
        in corral("mcps", "enable", name, "--team", "red", "--team", "blue", server=hand_server).out
    )
    listed = corral("mcps", server=hand_server)
    (line,) = [line for line in listed.out.splitlines() if line.startswith(name)]
    assert line.split()[1] == "ok"
    assert "tested on the platform" in corral("mcps", "show", name, server=hand_server).out
    assert corral("mcps", "remove", name, server=hand_server).out == f"Removed {name}.\n"
    gone = corral("mcps", "show", name, server=hand_server)
    assert (gone.code, "corral mcps" in gone.err) == (1, True)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "--url"),
        (("--url", "https://host/mcp", "--", "npx"), "--url"),
        (("--env", "A", "--", "npx"), "--env"),
        (("--agent", "a", "--team", "b", "--", "npx"), "not for both"),
    ],
)
def test_what_makes_no_sense_is_said(
    corral: Command, hand_server: Server, name: str, more: tuple[str, ...], told: str
) -> None:
    done = corral("mcps", "add", name, *more, server=hand_server)
    assert (done.code, told in done.err) == (2, True), done.err
