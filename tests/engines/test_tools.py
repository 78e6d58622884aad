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
from tests.engines.conftest import WorkerMaker
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


@pytest.mark.parametrize("mode", ["default", "plan", "dontAsk"])
def test_the_tools_run_unasked_side_by_side_and_wait_as_long_as_it_takes(worker: Worker, mode: str) -> None:
    turns = f"{tool('ask_human', question='Which?', options=['a'])} %% {tool('list_agents')} %% %say {{{{result}}}}"
    # Limits that a user may have set for other servers are not ours.
    worker.start(turns, mode=mode, agent=AGENT, env={"MCP_TOOL_TIMEOUT": "1000", "MCP_TIMEOUT": "1000"})
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


def test_a_cancel_ends_a_call_that_waits_and_an_interrupt_leaves_it_to_be_made_again(make_worker: WorkerMaker) -> None:
    first, second, third = make_worker(), make_worker(), make_worker()
    script = f"%keep %% {tool('delegate_task', to='bob', title='t', input='i', wait=True)} %% %say {{{{result}}}}"
    for worker in (first, second):
        worker.start(script, agent=AGENT)
    calls(first, 1)
    calls(second, 1)
    first.say("cancel", cancel={"by": "ada", "message": "no"})
    second.say("interrupt", message="bye")
    assert first.end()["type"] == "run.cancelled"
    assert [line["id"] for line in first.of("drop")] == [first.of("call")[0]["id"]]
    assert second.end()["type"] == "session.interrupted"
    third.start("Continue.", agent=AGENT, session_id=second.session, resume="interrupted", attempt=2)
    (again,) = calls(third, 1)
    assert (again["name"], again["input"]) == ("delegate_task", second.of("call")[0]["input"])
    long = "bob says " + "x" * 150_000  # read where it was asked for, not in a file
    third.say("answer", id=again["id"], text=long)
    assert third.completed() == long


def test_a_run_of_nobody_has_no_such_tools(worker: Worker) -> None:
    worker.start("%say hello")
    worker.completed()
    assert not [name for name in worker.payloads("session.init")[0]["tools"] if name.startswith("mcp__")]
    assert not [file for file in worker.private.iterdir() if file.is_file()]


def test_a_turn_that_ended_names_what_it_was_told(worker: Worker) -> None:
    worker.start("%keep %% %bash sleep 0.5 %% %say done", agent=AGENT)
    worker.wait_event("agent.tool_call")
    for number in (7, 0, 9):
        worker.say("message", message={"text": f"number {number}", "input": number})
    ending = worker.end()
    assert (ending["type"], ending["payload"]["inputs"]) == ("run.completed", [7, 9])


@pytest.fixture
def http_server() -> Iterator[str]:
    server = mcp_server.serve_http()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/mcp"
    server.shutdown()


def test_servers_get_their_secrets_and_nobody_else_sees_them(worker: Worker, http_server: str) -> None:
    turns = "%tool mcp__local__tell {} %% %tool mcp__far__tell {} %% %next %% %bash sleep 0.3 %% %say {{result}}"
    script = Path(mcp_server.__file__)
    stdio = {"name": "local", "transport": "stdio", "command": sys.executable, "args": [str(script), "one", "two"]}
    servers: list[JSON] = [
        {**stdio, "env": {"TOLD": SECRET}},
        {"name": "far", "transport": "http", "url": http_server, "headers": {"X-Told": SECRET}},
        {**stdio, "name": "corral"},  # the name is ours
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
    assert "mcp__corral__tell" not in worker.payloads("session.init")[0]["tools"]


@pytest.mark.parametrize("mode", list(PermissionMode))
def test_what_is_decided_about_tools_holds_in_every_permission_mode(worker: Worker, mode: str) -> None:
    def server(name: str, **rules: list[str]) -> JSON:
        script = Path(mcp_server.__file__)
        return {"name": name, "transport": "stdio", "command": sys.executable, "args": [str(script)], **rules}

    servers = [
        server("open", allow=["te*"]),
        server("asked", allow=["*"], ask=["tell"]),
        server("closed", allow=["*"], ask=["*"], deny=["t*"]),
        server("hidden", deny=["tell"]),
    ]
    names = ("open", "asked", "asked", "closed", "hidden")
    turns = " %% %next %% ".join(f"%tool mcp__{name}__tell {{}}" for name in names)
    worker.start(f"{turns} %% %next %% %say done", mode=mode, agent=AGENT, mcp_servers=servers)
    worker.answer(worker.wait_event("permission.requested"), "allow")
    worker.answer(worker.wait_event("permission.requested", count=2), "deny", reason="not today")
    worker.completed()
    asked = worker.payloads("permission.requested")
    assert [request["tool"] for request in asked] == ["mcp__asked__tell"] * 2
    uses = [call["tool_use_id"] for call in worker.payloads("agent.tool_call")]
    assert [request["tool_use_id"] for request in asked] == uses[1:3]
    results = worker.payloads("agent.tool_result")
    assert [result["is_error"] for result in results] == [False, False, True, True, True]
    assert "not today" in results[2]["output"]
    assert "Nobody may call" in results[3]["output"]
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


def test_servers_that_cannot_be_used_are_done_without_and_named(worker: Worker) -> None:
    servers = [
        {"name": "fine", **bad("stdio", "none")},
        {"name": "crash", **bad("stdio", "crash", "--at-start")},
        {"name": "none", "transport": "stdio", "command": "no-such-command"},
        {"name": "gone", "transport": "http", "url": "http://127.0.0.1:9/mcp"},
    ]
    worker.start("%say done", agent=AGENT, mcp_servers=servers)
    assert worker.completed() == "done"
    found = {one["name"]: one["status"] for one in worker.payloads("session.init")[0]["mcp_servers"]}
    assert found == {"fine": "connected", "crash": "failed", "none": "failed", "gone": "failed"}
    told = [one["message"] for one in worker.payloads("agent.needs_attention")]
    assert [message.split()[3] for message in told] == ["crash", "none", "gone"]


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
