"""Corral's own tools in Claude Code, and the MCP servers that a run is given."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from corral.runner.engines import claude_mcp
from corral.runner.engines.claude_guard import Guard
from corral.runner.engines.claude_sdk import PermissionResult
from corral.wire.agents import McpServer
from corral.wire.runner import Assignment
from corral.wire.runs import Engine, PermissionMode
from tests.engines import mcp_server
from tests.engines.worker import Worker
from tests.mcp import probe
from tests.support import bad_mcp
from tests.support.http import JSON
from tests.support.processes import Process, base_env, free_port
from tests.support.waiting import eventually, never

AGENT = {"id": "0190f0f0-0000-7000-8000-000000000001", "name": "ada", "role": "Answer as a wombat."}
SECRET = "s3cret-of-the-org"


def tool(name: str, **given: object) -> str:
    return f"%tool mcp__corral__{name} {json.dumps(given)}"


def calls(worker: Worker, count: int) -> list[JSON]:
    return eventually(lambda: worker.of("call") if len(worker.of("call")) == count else [], what=f"{count} calls")


def test_the_tools_run_side_by_side_and_wait_as_long_as_it_takes(worker: Worker) -> None:
    turns = f"{tool('ask_human', question='Which?', options=['a'])} %% {tool('list_agents')} %% %say {{{{result}}}}"
    # Limits that a user may have set for other servers are not ours.
    worker.start(turns, mode="default", agent=AGENT, env={"MCP_TOOL_TIMEOUT": "1000", "MCP_TIMEOUT": "1000"})
    asked = calls(worker, 2)
    uses = {call["name"]: call["tool_use_id"] for call in worker.payloads("agent.tool_call")}
    assert [(call["name"], call["input"]) for call in asked] == [
        ("ask_human", {"question": "Which?", "options": ["a"]}),
        ("list_agents", {}),
    ]
    assert [call["id"] for call in asked] == [uses[f"mcp__corral__{call['name']}"] for call in asked]
    worker.say("answer", id=asked[1]["id"], text="only you", is_error=True)
    never(lambda: worker.payloads("run.completed"), during=1.5)
    worker.say("answer", id="unknown", text="x")
    worker.say("answer", id=asked[0]["id"], text="the first")
    assert worker.completed() == "the first\nonly you"
    results = {result["name"]: result["is_error"] for result in worker.payloads("agent.tool_result")}
    assert results == {"mcp__corral__ask_human": False, "mcp__corral__list_agents": True}
    assert worker.payloads("permission.requested") == worker.of("drop") == []


@pytest.fixture
def http_server() -> Iterator[str]:
    server = mcp_server.serve_http()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/mcp"
    server.shutdown()


def test_servers_get_their_secrets_unseen_and_those_that_cannot_be_used_are_done_without_and_named(
    worker: Worker, http_server: str
) -> None:
    turns = "%tool mcp__local__tell {} %% %tool mcp__far__tell {} %% %next %% %bash sleep 0.3 %% %say {{result}}"
    script = Path(mcp_server.__file__)
    stdio = {"name": "local", "transport": "stdio", "command": sys.executable, "args": [str(script), "one", "two"]}
    servers: list[JSON] = [
        {**stdio, "env": {"TOLD": SECRET}},
        {"name": "far", "transport": "http", "url": http_server, "headers": {"X-Told": SECRET}},
        {**stdio, "name": "corral"},  # the name is ours
        {"name": "crash", **bad("stdio", "crash", "--at-start")},
        {"name": "none", "transport": "stdio", "command": "no-such-command"},
        {"name": "gone", "transport": "http", "url": "http://127.0.0.1:9/mcp"},
    ]
    worker.start(turns, agent=AGENT, mcp_servers=servers)
    worker.wait_event("agent.tool_result", count=2)
    seen = commands_below(worker.process.pid)
    assert len(seen) >= 2
    assert not any(SECRET.encode() in arguments for arguments in seen)
    assert not [file for file in worker.private.iterdir() if file.is_file()]  # not even until its end
    worker.completed()
    results = {result["name"]: result["output"] for result in worker.payloads("agent.tool_result")}
    assert results["mcp__local__tell"] == f"stdio {SECRET} one two"
    assert results["mcp__far__tell"] == f"http {SECRET}"
    init = worker.payloads("session.init")[0]
    assert "mcp__corral__tell" not in init["tools"]
    found = {one["name"]: one["status"] for one in init["mcp_servers"]}
    usable = {"local": "connected", "far": "connected"}
    assert found == {**usable, "crash": "failed", "none": "failed", "gone": "failed"}
    told = [one["message"] for one in worker.payloads("agent.needs_attention")]
    assert [message.split()[3] for message in told] == ["crash", "none", "gone"]


@pytest.mark.parametrize("mode", list(PermissionMode))
def test_our_tools_run_unasked_and_what_is_decided_about_others_holds_in_every_permission_mode(
    worker: Worker, http_server: str, mode: str
) -> None:
    def server(name: str, **rules: list[str]) -> JSON:
        return {"name": name, "transport": "http", "url": http_server, **rules}

    servers = [
        server("open", allow=["te*"]),
        server("asked", allow=["*"], ask=["tell"]),
        server("closed", allow=["*"], ask=["*"], deny=["t*"]),
        server("hidden", deny=["tell"]),
    ]
    names = ("open", "asked", "asked", "closed", "hidden")
    turns = " %% %next %% ".join([tool("list_agents"), *(f"%tool mcp__{name}__tell {{}}" for name in names)])
    worker.start(f"{turns} %% %next %% %say done", mode=mode, agent=AGENT, mcp_servers=servers)
    worker.say("answer", id=calls(worker, 1)[0]["id"], text="only you")
    worker.answer(worker.wait_event("permission.requested"), "allow")
    worker.answer(worker.wait_event("permission.requested", count=2), "deny", reason="not today")
    worker.completed()
    asked = worker.payloads("permission.requested")
    assert [request["tool"] for request in asked] == ["mcp__asked__tell"] * 2
    uses = [call["tool_use_id"] for call in worker.payloads("agent.tool_call")]
    assert [request["tool_use_id"] for request in asked] == uses[2:4]
    results = worker.payloads("agent.tool_result")
    assert [result["is_error"] for result in results] == [False, False, False, True, True, True]
    assert results[0]["output"] == "only you"
    assert "not today" in results[3]["output"]
    assert "Nobody may call" in results[4]["output"]
    offered = worker.payloads("session.init")[0]["tools"]
    assert "mcp__hidden__tell" not in offered


def test_the_strictest_ruling_holds_where_a_name_may_be_of_two_servers() -> None:
    async def nobody(*_: object) -> PermissionResult:
        raise AssertionError

    servers = [
        McpServer("a", "stdio", allow=("*",)),
        McpServer("a__b", "stdio", ask=("*",), deny=("x.y",)),
        McpServer("free", "stdio"),
    ]
    guard = Guard(servers, nobody)
    found = {
        tool: guard.ruling(tool) for tool in ("mcp__a__c", "mcp__a__b__c", "mcp__a__b__x_y", "mcp__free__c", "Bash")
    }
    assert list(found.values()) == ["allow", "ask", "deny", None, None]
    assert guard.disallowed == ["mcp__a__b__x_y"]
    assert not Guard([servers[2]], nobody).hooks


def test_the_file_that_tells_of_servers_is_for_its_owner_alone(folder: Path) -> None:
    server = McpServer("far", "http", url="https://far.example/mcp", headers={"Authorization": SECRET})
    run = Assignment("r", 1, "l", Engine.CLAUDE_CODE, "p", "/", mcp_servers=[server])
    path = claude_mcp.write(run, folder)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["mcpServers"] == {
        "far": {
            "type": "http",
            "url": "https://far.example/mcp",
            "headers": {"Authorization": SECRET},
            "timeout": 600_000,
        }
    }


def test_servers_that_hang_crash_and_flood_are_answers_to_their_calls(worker: Worker, folder: Path) -> None:
    with ExitStack() as stack:
        servers = {kind: bad("stdio", kind, "--brief") for kind in ("hang", "crash", "line", "messages", "stderr")}
        for kind in ("hang", "crash"):
            servers[f"far-{kind}"] = {"transport": "http", "url": stack.enter_context(over_http(folder, kind))}
        listed = [{"name": name, **server} for name, server in servers.items()]
        turns = " %% ".join(f"%tool mcp__{name}__go {{}}" for name in servers)
        limits = {"idle_seconds": 1.0}
        worker.start(f"{turns} %% %next %% %say done", agent=AGENT, mcp_servers=listed, limits=limits)
        assert worker.completed() == "done"
    results = {result["name"]: result for result in worker.payloads("agent.tool_result")}
    assert len(results) == len(servers)
    assert all(result["is_error"] for result in results.values())
    for name in ("hang", "messages", "stderr", "far-hang"):
        assert "timed out after 1s" in results[f"mcp__{name}__go"]["output"]


def bad(transport: str, *args: str) -> JSON:
    return {"transport": transport, "command": sys.executable, "args": ["-P", bad_mcp.__file__, *args]}


@contextmanager
def over_http(folder: Path, *args: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-P", bad_mcp.__file__, *args, "--http", str(port)]
    process = Process("bad mcp", command, env=base_env(folder), log=folder / f"{args[0]}.log", cwd=folder)
    probe.start(process, port)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.stop()


def commands_below(pid: int) -> list[bytes]:
    """The command lines of the processes under one, but of what ends meanwhile."""
    found: list[bytes] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in children_of(task):
                with suppress(FileNotFoundError, ProcessLookupError):
                    found.append(Path(f"/proc/{child}/cmdline").read_bytes())
                found += commands_below(child)
    return found


def children_of(task: Path) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in (task / "children").read_text().split()]
    return []
