"""Nothing that a runner sends or writes of a run holds what the run was given in secret."""

from __future__ import annotations

import inspect
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from corral.base import logs
from corral.runner.client import Client
from corral.runner.engines.claude_approvals import describe
from corral.runner.environment import credentials
from corral.runner.gate import Gate
from corral.runner.settings import Settings
from corral.wire.agents import McpServer
from corral.wire.events import ENDS_ATTEMPT, EventType, TokenFrame, Usage
from corral.wire.runner import Assignment, CommandKind, secrets_of
from corral.wire.tools import run_token
from tests.base.test_redactor import ODD, TOKEN, WRITTEN
from tests.runner.conftest import MINE, Running, command, until
from tests.runner.fake_server import FakeServer

Assign = Callable[..., Assignment]
HEADER = "Bearer mcp-2Jx8vQ4nKt7Lr"
EMPTY = Gate()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    out = io.StringIO()
    logs.set_up("json", "debug", out)
    yield out
    structlog.reset_defaults()


@pytest.fixture
def secret(assign: Assign) -> Callable[[str], Assignment]:
    server = McpServer("tracker", "http", url="http://127.0.0.1:9/", headers={"Authorization": HEADER})
    return lambda prompt: assign(prompt, env={"TOKEN": TOKEN, "ODD": ODD}, mcp_servers=[server])


def dump(server: FakeServer, settings: Settings) -> str:
    """Everything the server was sent, and everything on the runner's disk."""
    sent = [f"{path} {body.decode()}" for path, body in server.bodies]
    return "\n".join(sent + [file.read_text() for file in settings.data.rglob("*") if file.is_file()])


def is_shown(value: str, text: str) -> list[str]:
    """Which ways to write a value are in a text."""
    ways = ("as it is", "base64", "base64 after one byte", "hex", "URL", "JSON", "percents")
    return [way for way in ways if WRITTEN[way](value).strip("=")[2:-2] in text]


async def test_no_way_out_shows_a_secret(
    server: FakeServer, runner: Running, settings: Settings, secret: Callable[[str], Assignment], log: io.StringIO
) -> None:
    server.answer("call-3", "done")
    run = server.offer(secret("leak:message leak:tokens leak:usage leak:call leak:stderr private hear die"))
    await until(lambda: len(server.payloads(run.run_id, "agent.message")) > 2)
    server.ask(command("message", run, json.dumps({"text": TOKEN, "input": TOKEN}).encode()))
    server.ask(command("message", run, b'{"text":"go"}'))
    await until(lambda: "run.failed" in server.types(run.run_id))
    await until(lambda: not server.polls[-1].held)
    leaked = dump(server, settings) + log.getvalue()
    assert "[redacted:TOKEN]" in leaked
    assert not is_shown(TOKEN, leaked)
    assert not is_shown(ODD, leaked)
    for hidden in (HEADER, HEADER.split()[1], settings.api_key, run_token(run.run_id, run.lease)):
        assert hidden not in leaked
    [failed] = server.payloads(run.run_id, "run.failed")
    assert "[redacted:TOKEN]" in failed["hint"]  # the last words of the worker
    assert all(frame.text.isprintable() for frame in server.tokens[run.run_id])
    assert not (settings.data / "private").exists() or not list((settings.data / "private").iterdir())


#: A server that tells what it was given in secret, where it says what it has and where nobody should read it.
LEAKY = """
import json, os, sys
for line in sys.stdin:
    asked, token = json.loads(line), os.environ["TOKEN"]
    result = {"tools": [{"name": "tell", "description": "tells " + token, "inputSchema": {}}]}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""
DUMB = "import os, sys; sys.exit('what is ' + os.environ['TOKEN'])"


def mcp_server(script: str) -> dict[str, object]:
    command = [sys.executable, "-c", script]
    return {"name": "leaky", "transport": "stdio", "command": command[0], "args": command[1:], "env": {"TOKEN": TOKEN}}


@pytest.mark.parametrize("kind", CommandKind)
async def test_no_kind_of_command_and_no_kind_of_event_shows_a_secret(  # noqa: PLR0917 - fixtures
    server: FakeServer,
    runner: Running,
    settings: Settings,
    secret: Callable[[str], Assignment],
    log: io.StringIO,
    kind: CommandKind,
) -> None:
    """Whatever a command may tell: a kind that is new is here at once."""
    run = server.offer(secret("leak:events leak:call hear wait"))
    await until(lambda: server.payloads(run.run_id, "agent.tool_result"))
    told = dict.fromkeys(("text", "message", "by", "code", "hint", "reason", "request_id", "decision"), TOKEN)
    wrong = {TOKEN: TOKEN, **dict.fromkeys(("server", *told), 5)}
    payloads = {**told, "server": mcp_server(LEAKY)}, {**told, "server": mcp_server(DUMB)}, wrong
    asked = [server.ask(command(kind, run, json.dumps(payload).encode())).id for payload in payloads]
    await until(lambda: server.results.keys() >= set(asked))
    server.ask(command("cancel", run))
    await until(lambda: ENDS_ATTEMPT & set(server.types(run.run_id)))
    await until(lambda: not server.polls[-1].held)
    leaked = dump(server, settings) + log.getvalue()
    assert "[redacted:TOKEN]" in leaked
    assert not is_shown(TOKEN, leaked)
    assert not is_shown(ODD, leaked)
    assert not is_shown(MINE, leaked)


async def test_a_secret_that_streams_in_small_pieces_is_masked_and_offsets_have_no_gaps(
    server: FakeServer, runner: Running, secret: Callable[[str], Assignment]
) -> None:
    run = server.offer(secret("leak:tokens hear done:x"))
    await until(lambda: server.payloads(run.run_id, "agent.message"))
    await until(lambda: "".join(frame.text for frame in server.tokens[run.run_id]).endswith("."))
    shown = ""
    for frame in server.tokens[run.run_id]:
        assert frame.offset == len(shown)
        shown += frame.text
    assert shown == "It is [redacted:TOKEN], they say."
    server.ask(command("message", run, b'{"text":"go"}'))
    await until(lambda: "run.completed" in server.types(run.run_id))


def test_an_event_is_masked_before_it_is_cut() -> None:
    gate = Gate({"TOKEN": TOKEN}.items())
    for at in range(60):
        text = "x" * (128 * 1024 - at) + TOKEN + "x" * 140_000
        payload = gate.event(EventType.AGENT_TOOL_RESULT, json.dumps({"output": text}).encode())
        assert len(payload) < 256 * 1024
        assert not any(TOKEN[:length].encode() in payload for length in (8, 20, 39))


def test_what_people_are_asked_is_masked_before_it_is_cut_to_a_line() -> None:
    mask = Gate({"TOKEN": TOKEN}.items()).text
    for at in range(130, 200):
        line = describe("Bash", {"command": f"echo {'x' * at}{TOKEN} | sh"}, mask)
        assert not any(TOKEN[:length] in line for length in (8, 20, 39)), line


def test_of_mcp_servers_what_holds_a_secret_is_one_and_plain_settings_are_none(assign: Assign) -> None:
    env = {"URL": "http://u:hunter2@db/x", "MODE": "spreadsheets", "LOGIN": "me/abcd1234"}
    headers = {"Authorization": "Bearer mcp-2Jx8vQ4n", "X-Project": "spreadsheets", "Cookie": "s=0123456789"}
    server = McpServer("tracker", "http", url="http://127.0.0.1:9/", env=env, headers=headers)
    given = dict(secrets_of(assign("x", env={"PIN": "abcd"}, mcp_servers=[server])))
    given.pop("CORRAL_RUN_TOKEN")
    assert given == {
        "PIN": "abcd",
        "tracker.URL": env["URL"],
        "tracker.LOGIN": env["LOGIN"],
        "tracker.Authorization": "mcp-2Jx8vQ4n",
        "tracker.Cookie": headers["Cookie"],
    }


@pytest.mark.parametrize(
    ("name", "value", "is_one"),
    [
        ("ANTHROPIC_API_KEY", MINE, True),
        ("CLAUDE_CODE_OAUTH_TOKEN", MINE, True),
        ("HTTPS_PROXY", "http://me:hunter2@proxy:3128", True),
        ("HTTPS_PROXY", "http://proxy:3128", False),
        ("ANTHROPIC_BASE_URL", "https://gateway.example.com/@v1", False),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "32000", False),
        ("PATH", "/usr/bin", False),
    ],
)
def test_what_the_machine_signs_in_with_is_a_secret(name: str, value: str, is_one: bool) -> None:
    assert list(credentials({name: value})) == ([(name, value)] if is_one else [])


def test_usage_and_calls_are_masked_as_well() -> None:
    gate = Gate({"TOKEN": TOKEN}.items())
    assert gate.usage(Usage(f"1/{TOKEN}", "m")) == Usage("1/[redacted:TOKEN]", "m")
    plain = Usage("1/turn-1/m", "m")
    assert gate.usage(plain) is plain
    assert json.loads(gate.json(json.dumps({"to": [TOKEN]}).encode())) == {"to": ["[redacted:TOKEN]"]}


def test_the_rest_of_a_block_comes_with_its_whole_text() -> None:
    gate = Gate({"TOKEN": TOKEN}.items())
    assert gate.frame(TokenFrame("m/0", 0, "ends in g")) == TokenFrame("m/0", 0, "ends in ")
    assert gate.rest(EventType.AGENT_MESSAGE, b'{"text":"","block":"m/1"}') is None
    assert gate.rest(EventType.AGENT_MESSAGE, b'{"text":"","block":"m/0"}') == TokenFrame("m/0", 8, "g")
    assert gate.rest(EventType.AGENT_MESSAGE, b'{"text":"","block":"m/0"}') is None


def test_where_there_is_nothing_to_hide_frames_pass_as_they_are() -> None:
    frame = TokenFrame("m/0", 5, "hello")
    assert EMPTY.frame(frame) is frame


def test_the_directory_of_the_run_is_no_secret(settings: Settings, assign: Assign) -> None:
    cwd = settings.allowed_dirs[0]
    assert Gate([("ROOT", cwd)], known=[cwd]).text(f"in {cwd}") == f"in {cwd}"


def test_only_one_place_sends_what_a_run_says() -> None:
    """Whoever adds another way out of the runner has to lead it through the gate, and then to say so here.

    Polls name what is held, and registrations the machine: neither says anything that a run said.
    """
    ways = {"outbox.py": "send(", "calls.py": "call(", "commands.py": "finish(", "session.py": "register("}
    ways["daemon.py"] = "poll("
    folder = Path(logs.__file__).parents[1] / "runner"
    found = {
        (file.name, call)
        for file in folder.glob("*.py")
        if "from corral.runner.client import" in (text := file.read_text())
        for call in re.findall(r"_client\.(\w+\()", text)
        if call not in {"close(", "is_up("}
    }
    assert found == set(ways.items())
    sends = {f"{name}(" for name, way in vars(Client).items() if inspect.iscoroutinefunction(way) and name[0] != "_"}
    assert sends - {"close(", "is_up("} == set(ways.values())
