"""A real Claude Code whose shell prints a secret in eight encodings: nothing keeps it but the CLI's own transcript."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from redis import Redis as Client
from redis.exceptions import RedisError

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.company import Company, lines, use
from tests.support.model import Model
from tests.support.postgres import Postgres
from tests.support.redis import Redis

TOKEN = "ghp_9xQ2/vLk7+RzT4mWb8NcYd3HfJ6sPaEg1U5iOo"
PRINT = {
    "as it is": "echo $FLOW_TOKEN",
    "base64": "echo -n $FLOW_TOKEN | base64",
    "base64 after others": "echo -n x$FLOW_TOKEN | base64 -w 40",
    "base64 for URLs": "echo -n xy$FLOW_TOKEN | base64 -w 0 | tr +/ -_",
    "hex": "echo -n $FLOW_TOKEN | od -An -v -tx1 | tr -d ' \\n'",
    "wrapped upper hex": "echo -n $FLOW_TOKEN | od -An -v -tx1 | tr -d ' \\n' | tr a-f A-F | fold -w 60",
    "percent encoding": "echo -n $FLOW_TOKEN | sed s./.%2F.g | sed s.+.%2B.g",
    "shell and JSON escapes": "printf %q $FLOW_TOKEN'\"x y' | sed s./.\\\\\\\\/.g",
}


def written() -> dict[str, bytes]:
    """What must be nowhere: each way to write it that was printed, and any other that is as easy to read."""
    data = TOKEN.encode()
    ways = {f"base64 at {at}": base64.b64encode(b"xy"[:at] + data)[4:44] for at in range(3)}
    ways |= {f"{name} for URLs": way.translate(bytes.maketrans(b"+/", b"-_")) for name, way in ways.items()}
    return {
        "plain": data,
        "its longest part": data[9:],
        **ways,
        "hex": data.hex()[:50].encode(),
        "upper hex": data.hex().upper()[:50].encode(),
        "percents": quote(TOKEN, "").encode(),
    }


def kept(folders: list[Path]) -> Iterator[tuple[Path, bytes]]:
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file():
                yield file, file.read_bytes()


def listen(redis: Redis) -> list[bytes]:
    """Collect whatever goes through Redis from now on: what was published is not there any more afterwards."""
    said: list[bytes] = []
    monitor = Client.from_url(redis.url, socket_timeout=None).monitor().__enter__()  # type: ignore[no-untyped-call]

    def collect() -> None:
        with contextlib.suppress(RedisError, OSError, ValueError):
            said.extend(command["command"].encode("latin-1", "replace") for command in monitor.listen())

    threading.Thread(target=collect, daemon=True).start()
    return said


def test_a_secret_that_an_agent_prints_in_eight_encodings_is_kept_nowhere(  # noqa: PLR0917 - fixtures
    make_server: ServerMaker,
    start_runner: RunnerMaker,
    model: Model,
    postgres: Postgres,
    postgres_url: str,
    own_redis: Redis,
) -> None:
    said = listen(own_redis)
    shared = {"CORRAL_DATABASE_URL": postgres_url, "CORRAL_REDIS_URL": own_redis.url}
    server = make_server(env={**shared, "CORRAL_LOG_LEVEL": "debug"})
    runner = start_runner(server, name="printing", env={"CORRAL_LOG_LEVEL": "debug"})
    company = Company(server, {"printing": runner}, model)
    company.api.post("/api/secrets", body={"key": "FLOW_TOKEN", "value": TOKEN}).raise_for_status()
    agent = company.agent("Printer", "printing")
    script = "; echo; ".join(PRINT.values())
    note = use(agent, "report_progress", text="{{result}}")
    task = company.task(
        agent, lines(f"%bash {script}", note, "%bash echo $FLOW_TOKEN >&2; exit 3", "%say So: {{result}}")
    )
    result = company.result(task)
    assert "[redacted:FLOW_TOKEN]" in result
    run = company.look(task)["run_id"]
    company.hold(run)
    [printed, _, failed] = company.payloads(run, "agent.tool_result")
    assert printed["output"].count("[redacted:FLOW_TOKEN]") == len(PRINT), printed["output"]
    assert "[redacted:FLOW_TOKEN]" in failed["output"]

    transcripts = [file for file, data in kept([runner.home]) if TOKEN.encode() in data]
    # Its own transcript is what the CLI needs to resume, and is the one exception.
    assert [file.suffix for file in transcripts] == [".jsonl"]
    assert {file.stat().st_mode & 0o777 for file in transcripts} == {0o600}
    assert not list((runner.data / "private").iterdir()) or not (runner.data / "private").exists()

    name = postgres_url.rpartition("/")[2].partition("?")[0]
    tables = postgres.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name).split()
    assert {"events", "messages", "secrets"} <= set(tables)
    dumped = {
        "database": "\n".join(postgres.sql(f'SELECT t FROM "{table}" t', name) for table in tables).encode(),
        "redis": b"\n".join(said),
    }
    for shown in dumped.values():
        assert b"[redacted:FLOW_TOKEN]" in shown
    folders = [server.data, runner.data, server.process.log.parent]
    dumped |= {str(file): data for file, data in kept(folders) if runner.home not in file.parents}
    assert any(name.endswith(".log") for name in dumped)
    for name, data in dumped.items():
        for way, text in written().items():
            assert text not in data, f"{way} in {name}"
