"""What masking secrets costs a busy run: a worker's lines through the runner, and what the search for secrets adds.

The lines are those of a CLI at work: streamed words, messages, calls of tools, and what files and commands printed.
They come out of a process, are decoded, masked, spooled to disk and sent to Corral. Counted is the processor's time
of the runner.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.events import started
from bench.report import Figure
from bench.servers import Bench, Corral
from corral.runner import spool
from corral.runner.client import Client
from corral.runner.engines.protocol import Child, Draft, Emit, FromWorker, Spend, Token
from corral.runner.gate import Gate
from corral.runner.outbox import Outbox
from corral.runner.workers import MOST_LINE_BYTES, Worker
from corral.wire.events import EventType, TokenFrame, Usage
from corral.wire.runner import Held
from corral.wire.runs import Engine
from tests.support.postgres import REPOSITORY

_TURNS = 40
#: Lines a second of the worker, of which a CLI at work has some hundred.
_RATE = 4000
_WORDS = 60
_SAY = """
import os, sys, time
began = time.monotonic()
for at, line in enumerate(open(sys.argv[1], "rb")):
    if (early := began + at / int(sys.argv[2]) - time.monotonic()) > 0:
        time.sleep(early)
    os.write(1, line)
"""
_TEXT = "The tests pass now; I have changed the retry so that it waits for the lock and not for the clock. " * 5


def secrets(count: int) -> dict[str, str]:
    """Return secrets as people have them: tokens of some forty characters, a password, a private key."""
    known = {
        f"TOKEN_{at}": base64.urlsafe_b64encode(hashlib.sha256(b"%d" % at).digest()).decode() for at in range(count)
    }
    key = base64.encodebytes(hashlib.shake_256(b"key").digest(1200)).decode()
    return {**known, "KEY": f"-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\n", "DSN": "hunter2-hunter3"}


async def busy(bench: Bench) -> list[Figure]:
    """Carry a run's lines through the runner, then through the gate alone; no line holds a secret, as nearly always.

    Beside the run stands the same with what the gate takes for its lines, beyond one with nothing to hide: two whole
    runs differ by more than that.
    """
    gates = {"none": Gate(), "3": Gate(secrets(1).items()), "22": Gate(secrets(20).items())}
    lines = bench.folder / "lines"
    lines.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in _lines()))
    whole: list[float] = []
    masked: dict[str, list[float]] = {kind: [] for kind in gates}
    with bench.corral() as target:
        for _ in range(4 if bench.quick else 8):
            whole.append(await _carried(target, lines, Gate(), bench.folder / "spools"))
            for kind, gate in gates.items():
                masked[kind].append(_masked(gate))
    # The least of each: whatever else the machine does only ever adds to it.
    raw, idle = min(whole), min(masked.pop("none"))
    return [
        Figure("redact", f"a busy run with {kind} secrets", "ms CPU", raw + min(times) - idle, raw, at_most=1.05)
        for kind, times in masked.items()
    ]


def _masked(gate: Gate) -> float:
    """Return the milliseconds that the gate takes for all lines."""
    lines = list(_lines())
    began = time.process_time()
    for line in lines:
        match line:
            case Emit(type, payload):
                gate.rest(type, bytes(payload))
                gate.event(type, bytes(payload))
            case Spend(usage) | Draft(usage):
                gate.usage(usage)
            case Token(frame):
                gate.frame(frame)
            case _:
                pass
    return (time.process_time() - began) * 1000


async def _carried(target: Corral, lines: Path, gate: Gate, folder: Path) -> float:
    """Return the milliseconds of this process's time until the server has all of it."""
    async with started(target) as (_, job):
        client = Client(target.url, target.key)
        made = spool.create(folder, Held(job.id, job.attempt, job.lease), first=1)
        outbox = Outbox(made, client, gate=gate)
        outbox.start()
        reader = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _SAY,
            str(lines),
            str(_RATE),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MOST_LINE_BYTES,
        )
        began = time.process_time()
        worker = Worker(reader, Engine.CLAUDE_CODE)
        while (line := await worker.hear()) is not None:
            match line:
                case Emit(type, payload):
                    outbox.event(type, bytes(payload))
                case Spend(usage):
                    outbox.usage(usage)
                case Draft(usage):
                    outbox.draft(usage)
                case Token(frame):
                    outbox.token(frame)
                case _:
                    pass
        await outbox.delivered.wait()
        spent = time.process_time() - began
        await worker.ended(5.0)
        await client.close()
        made.path.unlink()
    return spent * 1000


def _lines() -> Iterator[FromWorker]:
    """Yield what a worker says in a run of some turns."""
    files = sorted((REPOSITORY / "corral").rglob("*.py"))
    yield Child(1)
    for turn in range(_TURNS):
        block, offset = f"msg_{turn}/0", 0
        words = _TEXT.split(" ")[:_WORDS]
        for word in words:
            yield Token(TokenFrame(block, offset, f"{word} "))
            offset += len(word) + 1
        usage = Usage(f"1/message-{turn}", "claude-sonnet-5", 12, 345, 6789, 10, estimated=True)
        yield Draft(usage)
        yield _emit(EventType.AGENT_MESSAGE, text=" ".join(words), model="claude-sonnet-5", block=block)
        file = files[turn * 7 % len(files)]
        use = f"toolu_{turn:024}"
        yield _emit(EventType.AGENT_TOOL_CALL, tool_use_id=use, name="Read", input={"file_path": str(file)})
        shown = file.read_text()[:6000]
        yield _emit(EventType.AGENT_TOOL_RESULT, tool_use_id=use, name="Read", output=shown, is_error=False)
        yield Spend(msgspec.structs.replace(usage, source=f"1/turn-{turn}", estimated=False))
    yield _emit(EventType.RUN_COMPLETED, text=_TEXT)


def _emit(kind: EventType, **payload: object) -> Emit:
    return Emit(kind, msgspec.Raw(json.dumps(payload, ensure_ascii=False).encode()))
