"""MCP servers of agents inside the platform: real ones that behave badly, and tools that come and go in a run."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from corral.providers.tools import _named
from tests.mcp.probe import BAD, Probe
from tests.providers.world import World
from tests.support.waiting import PATIENCE


async def test_tools_that_come_in_the_middle_of_a_run_are_offered_under_the_same_rules(world: World) -> None:
    world.rules = {"deny": ("new_bad",)}
    await world.start()
    run = await world.ask('%tool ask {}\n%next\n%tool files__new_good {"at": "it"}\n%next\n%say {{result}}')
    await world.happens(lambda: bool(world.own.asked))
    world.server.tools += ["new_good", "new_bad"]
    world.server.is_new = True
    world.own.answers.put_nowait("go on")
    assert await world.text(await world.until(run)) == "saw it"
    offered = [[tool["name"] for tool in request["tools"]] for request in world.requests()]
    assert "files__new_good" not in offered[0]
    assert "files__new_good" in offered[1]
    assert not any("files__new_bad" in tools for tools in offered)
    assert offered[1][: len(offered[0])] == offered[0]


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_servers_that_hang_crash_and_flood_are_answers_to_their_calls(
    world: World, tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side, and the run ends well; what the servers were started for is gone with the engine."""
    monkeypatch.setattr("corral.mcp.link._GRACE", 0.3)
    monkeypatch.setattr("corral.mcp.allowance._MESSAGES", 200)  # which also a busy machine reads in this time
    monkeypatch.setattr("corral.mcp.allowance._MESSAGES_A_SECOND", 20)
    seconds = 5.0 * PATIENCE
    kinds = {
        "hang": f"no answer in {seconds:g} seconds",
        "crash": "ended during",
        "messages": "floods",
        "result": "floods",
    }
    probes = {kind: Probe(tmp_path / kind) for kind in kinds}
    for probe in probes.values():
        probe.folder.mkdir()
    async with AsyncExitStack() as stack:
        for kind, probe in probes.items():
            server = await stack.enter_async_context(probe.over(transport, kind, script=BAD))
            world.real_servers.append(msgspec.structs.replace(server, name=kind))
        engine = await world.start()
        script = "\n".join(f"%tool {kind}__go {{}}" for kind in kinds)
        run = await world.done(f"{script}\n%next\n%say done", limits=world.limits(idle_seconds=seconds))
        results = {one["name"]: one for one in await world.told(run, "agent.tool_result")}
        for kind, why in kinds.items():
            assert results[f"{kind}__go"]["is_error"]
            assert why in results[f"{kind}__go"]["output"]
        await engine.stop()
        if transport == "stdio":
            assert [probe.living() for probe in probes.values()] == [[], [], [], []]


def test_names_that_are_too_long_stay_apart() -> None:
    server = "s" * 60
    names = [_named(server, tool) for tool in ("read_one_file", "read_two_files", "go", "read.one.file")]
    assert all(len(name) <= 64 for name in names)
    assert len(set(names)) == 3  # as they would be where there is room
    assert _named("files", "read.one") == "files__read_one"
