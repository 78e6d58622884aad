"""A real Claude Code whose shell prints secrets in many encodings: nothing keeps them but the CLI's own transcript."""

from __future__ import annotations

import base64
import contextlib
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis as Client
from redis.exceptions import RedisError

from tests.conftest import REPOSITORY, RunnerMaker, ServerMaker
from tests.flows.company import Company, lines, use
from tests.support import mcp_server
from tests.support.http import JSON, follow
from tests.support.model import Model
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.runner import Runner
from tests.support.server import Server
from tests.support.waiting import eventually

TOKEN = "ghp_9xQ2/vLk7+RzT4mWb8NcYd3HfJ6sPaEg1U5iOo"
KEY_LINES = textwrap.wrap(base64.b64encode(bytes(at * 37 % 256 for at in range(140))).decode(), 64)
KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", *KEY_LINES, "-----END PRIVATE KEY-----"])
PRINT = {
    "as it is": "echo $FLOW_TOKEN",
    "base64": "echo -n $FLOW_TOKEN | base64",
    "base64 after others": "echo -n x$FLOW_TOKEN | base64 -w 40",
    "base64 for URLs": "echo -n xy$FLOW_TOKEN | base64 -w 0 | tr +/ -_",
    "hex": "echo -n $FLOW_TOKEN | od -An -v -tx1 | tr -d ' \\n'",
    "wrapped upper hex": "echo -n $FLOW_TOKEN | od -An -v -tx1 | tr -d ' \\n' | tr a-f A-F | fold -w 60",
    "percent encoding": "echo -n $FLOW_TOKEN | sed s./.%2F.g | sed s.+.%2B.g",
    "shell and JSON escapes": "printf %q $FLOW_TOKEN'\"x y' | sed s./.\\\\\\\\/.g",
    "over several lines": "echo $FLOW_TOKEN | fold -w 24",
}
PRINT_KEY = 'echo "$FLOW_KEY"; echo "$FLOW_KEY" | cat -n; echo "$FLOW_KEY" | base64'
#: Prints it where no run looks any more when it ends.
IN_THE_BACKGROUND = '%tool Bash {"command": "echo $FLOW_TOKEN; sleep 300", "run_in_background": true}'


def written() -> dict[str, bytes]:
    """What must be nowhere: each way to write it that was printed, and any other that is as easy to read."""
    data = TOKEN.encode()
    ways = {f"base64 at {at}": base64.b64encode(b"xy"[:at] + data)[4:44] for at in range(3)}
    ways |= {f"{name} for URLs": way.translate(bytes.maketrans(b"+/", b"-_")) for name, way in ways.items()}
    return {
        "plain": data,
        "its longest part": data[9:],
        "a line of it": data[:24],
        **ways,
        "hex": data.hex()[:50].encode(),
        "upper hex": data.hex().upper()[:50].encode(),
        "percents": quote(TOKEN, "").encode(),
        "a line of the key": KEY_LINES[0].encode(),
        "the key in base64": base64.b64encode(KEY.encode())[40:80],
    }


def kept(folders: list[Path]) -> Iterator[tuple[Path, bytes]]:
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file():
                yield file, file.read_bytes()


def holding(folder: Path) -> list[Path]:
    """The files in which the token is to be read."""
    return [file for file, data in kept([folder]) if TOKEN.encode() in data]


def listen(redis: Redis) -> list[bytes]:
    """Collect whatever goes through Redis from now on: what was published is not there any more afterwards."""
    said: list[bytes] = []
    monitor = Client.from_url(redis.url, socket_timeout=None).monitor().__enter__()  # type: ignore[no-untyped-call]

    def collect() -> None:
        with contextlib.suppress(RedisError, OSError, ValueError):
            said.extend(command["command"].encode("latin-1", "replace") for command in monitor.listen())

    threading.Thread(target=collect, daemon=True).start()
    return said


def watch(company: Company, run_id: str) -> tuple[list[bytes], threading.Thread]:
    """Collect what somebody sees who watches a run."""
    seen: list[bytes] = []

    def collect() -> None:
        with company.server.api() as api:
            seen.extend(frame.data.encode() for frame in follow(api, "/api/runs/:id/events/stream", run_id))

    watching = threading.Thread(target=collect, daemon=True)
    watching.start()
    return seen, watching


class Place:
    """Where a server keeps things, beside its directory."""

    def __init__(self, env: dict[str, str], dumped: Callable[[], dict[str, bytes]]) -> None:
        self.env, self.dumped = env, dumped


@pytest.fixture
def place(postgres: Postgres, postgres_url: str, own_redis: Redis) -> Place:
    """PostgreSQL and Redis. What a server keeps in SQLite is in its directory, and another test looks there."""
    url, redis = postgres_url, own_redis
    said = listen(redis)

    def dumped() -> dict[str, bytes]:
        name = url.rpartition("/")[2].partition("?")[0]
        tables = postgres.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name).split()
        assert {"events", "messages", "commands", "conversation", "repeatable_requests", "secrets"} <= set(tables)
        rows = "\n".join(postgres.sql(f'SELECT t FROM "{table}" t', name) for table in tables)
        return {"database": rows.encode(), "redis": b"\n".join(said)}

    return Place({"CORRAL_DATABASE_URL": url, "CORRAL_REDIS_URL": redis.url}, dumped)


def store(company: Company, **secrets: str) -> None:
    for name, value in secrets.items():
        body = {"key": name, "value": value}
        answer = company.api.post("/api/secrets", body=body, headers={"Idempotency-Key": f"store-{name}"})
        assert answer.json() == {"ok": True}, answer.text


def add_probe(company: Company, folder: Path) -> JSON:
    """A real MCP server that tells its whole environment."""
    env = {mcp_server.PIDS: str(folder / "pids"), "PYTHONPATH": str(REPOSITORY), "TOKEN": "${FLOW_TOKEN}"}
    args = ["-m", mcp_server.__name__]
    server = {"name": "probe", "transport": "stdio", "command": sys.executable, "args": args, "env": env}
    answer = company.api.post("/api/mcps", body=server)
    assert answer.status_code == 201, answer.text
    made: JSON = answer.json()
    return made


def test_secrets_that_agents_print_in_many_encodings_are_kept_nowhere(
    make_server: ServerMaker, start_runner: RunnerMaker, model: Model, place: Place, folder: Path
) -> None:
    tmp = folder / "tmp"
    tmp.mkdir()
    chatty = {"CORRAL_LOG_LEVEL": "debug"}
    server = make_server(env={**place.env, **chatty, "ANTHROPIC_BASE_URL": model.url, "CORRAL_PROVIDER_STDIO": "on"})
    runner = start_runner(server, name="printing", env={**chatty, "TMPDIR": str(tmp)})
    company = Company(server, {"printing": runner}, model)
    store(company, FLOW_TOKEN=TOKEN, FLOW_KEY=KEY, ANTHROPIC_API_KEY="sk-ant-0123456789")
    probe = add_probe(company, folder)
    tested = company.api.post("/api/mcps/:id/test", probe["id"], body={}).json()
    assert "env" in [tool["name"] for tool in tested["tools"]], tested

    agent = company.agent("Printer", "printing")
    script = "; echo; ".join([*PRINT.values(), PRINT_KEY])
    note = use(agent, "report_progress", text="{{result}}")
    fail = "%bash echo $FLOW_TOKEN >&2; exit 3"
    ask = "%tool mcp__probe__env {}"
    told = [f"%bash {script}", note, IN_THE_BACKGROUND, ask, fail, "%chunk 1", "%say So: {{result}}"]
    task = company.task(agent, lines("%bash sleep 1", *told))
    run = str(eventually(lambda: company.look(task)["run_id"]))
    seen, watching = watch(company, run)
    result = company.result(task)
    assert "[redacted:FLOW_TOKEN]" in result
    company.hold(run)
    watching.join(20)
    shown = b"".join(frame for frame in seen if b"agent.token" in frame)
    assert b"redacted:FLOW_TOKEN" in shown
    printed, _, _, environment, failed = company.payloads(run, "agent.tool_result")[1:]
    assert printed["output"].count("[redacted:FLOW_TOKEN]") == len(PRINT), printed["output"]
    assert printed["output"].count("[redacted:FLOW_KEY]") >= 3, printed["output"]
    assert "[redacted:FLOW_TOKEN]" in environment["output"]
    assert "[redacted:FLOW_TOKEN]" in failed["output"]

    inside = company.agent("Insider", "anthropic", autostart=False)
    other = company.task(inside, lines("%tool probe__env {}", "%say {{result}}"))
    company.api.post("/api/run", body={"taskId": other}).raise_for_status()
    assert "TOKEN=[redacted:FLOW_TOKEN]" in company.result(other)

    # Its own transcript is what the CLI needs to resume, and is the one exception.
    for file in holding(folder):
        assert "projects" in file.parts, file
        assert file.stat().st_mode & 0o777 == 0o600 or "tool-results" in file.parts
        (projects,) = [parent for parent in file.parents if parent.name == "projects"]
        assert projects.stat().st_mode & 0o777 == 0o700
    assert holding(runner.home)
    assert not list((runner.data / "private").iterdir())
    assert not list(tmp.rglob("*.output"))
    look_everywhere({"live": b"\n".join(seen), **place.dumped()}, [folder], but=runner.home)

    # It goes with the run.
    for one in (run, company.look(other)["run_id"]):
        assert company.api.delete("/api/runs/:id", one).status_code == 204
    eventually(lambda: not holding(runner.home), what="the transcript is deleted")
    look_everywhere(place.dumped(), [folder])
    assert run not in str(company.api.get("/api/v1/runs").json())


def look_everywhere(dumped: dict[str, bytes], folders: list[Path], but: Path | None = None) -> None:
    """Assert that a secret is nowhere to be read in what was dumped, and in what is in these directories."""
    files = {str(file): data for file, data in kept(folders) if but is None or but not in file.parents}
    assert any(name.endswith(".log") for name in files)
    found = {**dumped, **files}
    assert any(b"[redacted:FLOW_TOKEN]" in data for data in found.values())
    for name, data in found.items():
        for way, text in written().items():
            assert text not in data, f"{way} in {name}"


def test_a_transcript_goes_with_the_last_run_of_its_session(
    make_server: ServerMaker, start_runner: RunnerMaker, model: Model, folder: Path
) -> None:
    company, runner = printing(make_server(), start_runner, model)
    agent = company.agent("Printer", "printing")
    task = company.task(agent, lines(f"%bash {'; echo; '.join(PRINT.values())}", "%say Done: {{result}}"))
    company.result(task)
    look_everywhere({}, [folder], but=runner.home)
    first = company.look(task)["run_id"]
    second, third = (company.follow_up(first, lines("%bash echo $FLOW_TOKEN", "%say Done")) for _ in range(2))
    company.completed(second)
    company.completed(third)  # a fork
    sessions = {one: company.payloads(one, "session.init")[-1]["session_id"] for one in (first, second, third)}
    assert sessions[first] == sessions[second] != sessions[third]
    assert names(runner) == set(sessions.values())
    gone = company.api.delete("/api/runs/:id", first)
    assert gone.status_code == 204, gone.text
    assert company.api.delete("/api/runs/:id", third).status_code == 204
    eventually(lambda: names(runner) == {sessions[second]})
    fourth = company.follow_up(second, "%say Still there")
    assert company.api.delete("/api/runs/:id", second).status_code == 204
    company.completed(fourth)
    assert company.text(fourth) == "Still there"
    assert names(runner) == {sessions[second]}
    runner.kill()  # it hears of it when it is back
    assert company.api.delete("/api/runs/:id", fourth).status_code == 204
    runner.start()
    eventually(lambda: not names(runner) and not holding(runner.folder))


def test_what_a_killed_runner_left_its_next_start_removes(
    make_server: ServerMaker, start_runner: RunnerMaker, model: Model
) -> None:
    company, runner = printing(make_server(), start_runner, model)
    agent = company.agent("Printer", "printing")
    task = company.task(agent, lines(IN_THE_BACKGROUND, "%bash sleep 100", "%say Done"))
    private = runner.data / "private"
    eventually(lambda: holding(private), what="the output of the command in the background")
    run = company.look(task)["run_id"]
    company.wait_event(run, "agent.tool_call", count=2)
    runner.kill()
    assert holding(private)
    runner.start()
    eventually(lambda: company.payloads(run, "session.interrupted"))
    assert not any(TOKEN.encode() in data for file, data in kept([runner.folder]) if runner.home not in file.parents)
    company.cancel(run)
    company.wait(run)
    eventually(lambda: not [*private.glob("*")], what="what the run kept is gone")  # its folder may be gone too


def printing(server: Server, start_runner: RunnerMaker, model: Model) -> tuple[Company, Runner]:
    runner = start_runner(server, name="printing")
    company = Company(server, {"printing": runner}, model)
    store(company, FLOW_TOKEN=TOKEN)
    return company, runner


def names(runner: Runner) -> set[str]:
    """The sessions of which the CLI keeps a transcript."""
    return {file.stem for file in (runner.home / "claude" / "projects").glob("*/*.jsonl")}
