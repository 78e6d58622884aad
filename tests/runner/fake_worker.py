"""A worker that does what its prompt says, word by word: for hangs, deaths and trees that no real CLI makes on demand.

The flows with the real Claude Code are in tests/flows. Started by path, in the runner's scrubbed environment.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any, NoReturn
from urllib.parse import quote

import msgspec

from corral.runner.engines.protocol import (
    CallTool,
    Child,
    DoAnswer,
    DoApprove,
    DoCancel,
    DoGoOn,
    DoInterrupt,
    DoMessage,
    Draft,
    DropCall,
    Emit,
    FromWorker,
    MayGoOn,
    Ready,
    Spend,
    Start,
    Token,
    ToWorker,
)
from corral.wire.events import ENDS_ATTEMPT, SERVER_WRITES, EventType, TokenFrame, Usage

told: Queue[ToWorker | None] = Queue()


def say(line: FromWorker) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def emit(type: EventType, **payload: Any) -> None:
    say(Emit(type, msgspec.Raw(msgspec.json.encode(payload))))


def listen() -> None:
    for line in sys.stdin.buffer:
        told.put(msgspec.json.decode(line, type=ToWorker))
    told.put(None)


def main() -> None:
    threading.Thread(target=listen, daemon=True).start()
    say(Ready())
    start = told.get()
    if not isinstance(start, Start):
        return
    os.environ.update(start.env)
    for number, word in enumerate(start.assignment.prompt.split()):
        name, _, rest = word.partition(":")
        DO[name](rest, number, start)


def leave() -> NoReturn:
    os._exit(0)  # the listening thread holds stdin, over which Python would stumble


def message(text: str, number: int, start: Start) -> None:
    emit(EventType.AGENT_MESSAGE, text=text)


def messages(count: str, number: int, start: Start) -> None:
    for one in range(int(count)):
        emit(EventType.AGENT_MESSAGE, text=f"message {one + 1}")


def big(size: str, number: int, start: Start) -> None:
    emit(EventType.AGENT_TOOL_RESULT, output="x" * int(size))


def usage(tokens: str, number: int, start: Start) -> None:
    say(Spend(Usage(f"{start.assignment.attempt}/{number}", "model", output_tokens=int(tokens))))


def draft(tokens: str, number: int, start: Start) -> None:
    source = f"{start.assignment.attempt}/message-{number}"
    say(Draft(Usage(source, "model", output_tokens=int(tokens), estimated=True)))


def answer(tokens: str, number: int, start: Start) -> None:
    """Stream an answer, of so many tokens in all."""
    for count in (1, int(tokens)):
        source = f"{start.assignment.attempt}/message-{number}"
        say(Draft(Usage(source, "model", output_tokens=count, estimated=True)))


def pace(_: str, number: int, start: Start) -> None:
    """Ask whether to go on."""
    say(MayGoOn(number))
    while not isinstance(line := told.get(), DoGoOn):
        obey(line)
    emit(EventType.AGENT_MESSAGE, text=f"{line.id} may go on")


def tokens(count: str, number: int, start: Start) -> None:
    for one in range(int(count)):
        say(Token(TokenFrame("b1", one, "x")))
        time.sleep(0.002)


def leak(how: str, number: int, start: Start) -> None:
    """Say what is secret, in every way there is."""
    token, odd = os.environ["TOKEN"], os.environ["ODD"]
    match how:
        case "message":
            for value in (token, odd, *(server.headers["Authorization"] for server in start.assignment.mcp_servers)):
                data = value.encode()
                written = [value, base64.b64encode(data).decode(), base64.b64encode(b"x" + data).decode(), data.hex()]
                written += [quote(value, ""), json.dumps(value), "".join(f"%{byte:02X}" for byte in data)]
                emit(EventType.AGENT_MESSAGE, text="\n".join(written), **{value: [value]})
        case "tokens":
            text = f"It is {token}, they say."
            for one, letter in enumerate(text):
                say(Token(TokenFrame("b1", one, letter)))
            emit(EventType.AGENT_MESSAGE, text=text, block="b1")
        case "events":
            key = os.environ["ANTHROPIC_API_KEY"]
            for kind in set(EventType) - ENDS_ATTEMPT - SERVER_WRITES - {EventType.AGENT_TOKEN}:
                emit(kind, **{token: [token]}, request_id=token, text=f"{odd} {token}", input={"a": key})
        case "usage":
            say(Spend(Usage(f"{token}/{number}", token, output_tokens=1)))
            say(Draft(Usage(f"{token}/draft", token, output_tokens=1, estimated=True)))
        case "call":
            say(CallTool(f"call-{number}", "report_progress", msgspec.Raw(msgspec.json.encode({"text": token}))))
        case "stderr":
            print(f"{'x' * 1990}{token} {odd}", file=sys.stderr, flush=True)  # noqa: T201 - cut off in its midst
            print(f"cannot sign in with {token}", file=sys.stderr, flush=True)  # noqa: T201


def session(session_id: str, number: int, start: Start) -> None:
    """Name the CLI's session."""
    emit(EventType.SESSION_INIT, session_id=session_id)


def sleep(seconds: str, number: int, start: Start) -> None:
    time.sleep(float(seconds))


def env(_: str, number: int, start: Start) -> None:
    emit(EventType.AGENT_MESSAGE, text=json.dumps(dict(os.environ)))


def cwd(_: str, number: int, start: Start) -> None:
    emit(EventType.AGENT_MESSAGE, text=start.assignment.cwd)


def tree(kind: str, number: int, start: Start) -> None:
    """A CLI with a child that left for its own session, both deaf to SIGTERM when told so."""
    deaf = "trap '' TERM; " if kind == "deaf" else ""
    script = f"{deaf}setsid sh -c '{deaf}sleep 300; true' & echo $!; wait"
    cli = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert cli.stdout is not None
    child = int(cli.stdout.readline())
    say(Child(cli.pid))
    emit(EventType.AGENT_MESSAGE, text=f"{cli.pid} {child}")


def orphan(_: str, number: int, start: Start) -> None:
    """A grandchild whose parent has ended, in a session of its own."""
    made = subprocess.run(["sh", "-c", "setsid sleep 300 >/dev/null 2>&1 & echo $!"], capture_output=True, check=True)
    emit(EventType.AGENT_MESSAGE, text=made.stdout.decode().strip())


def ask(request_id: str, number: int, start: Start) -> None:
    """Ask a person and wait for the answer."""
    emit(EventType.PERMISSION_REQUESTED, request_id=request_id, kind="tool", tool="Bash", input={}, cwd="/")
    while not isinstance(line := told.get(), DoApprove):
        obey(line)
    emit(EventType.AGENT_MESSAGE, text=f"{line.approve.request_id} {line.approve.decision}")


def call(name: str, number: int, start: Start) -> None:
    """Call one of Corral's tools and wait for what comes of it."""
    _call(name, number)
    while not isinstance(line := told.get(), DoAnswer):
        obey(line)
    emit(EventType.AGENT_MESSAGE, text=f"{line.id} {'error' if line.is_error else 'says'} {line.text}")


def calls(name: str, number: int, start: Start) -> None:
    """Call a tool three times at once, and say what comes of each."""
    for one in range(3):
        _call(name, one)
    for _ in range(3):
        while not isinstance(line := told.get(), DoAnswer):
            obey(line)
        emit(EventType.AGENT_MESSAGE, text=f"{line.id} says {line.text}")


def drop(name: str, number: int, start: Start) -> None:
    """Call a tool, do something else until told something, and no longer wait for the tool."""
    _call(name, number)
    hear("", number, start)
    say(DropCall(f"call-{number}"))


def _call(name: str, number: int) -> None:
    say(CallTool(f"call-{number}", name, msgspec.Raw(b'{"number":%d}' % number)))


def private(_: str, number: int, start: Start) -> None:
    """Write a secret where it may be."""
    path = Path(start.private) / "secret"
    path.write_text("s3cret")
    emit(EventType.AGENT_MESSAGE, text=str(path))


def hear(_: str, number: int, start: Start) -> None:
    """Wait for a person's message."""
    while not isinstance(line := told.get(), DoMessage):
        obey(line)
    emit(EventType.AGENT_MESSAGE, text=line.message.text)


def wait(_: str, number: int, start: Start) -> None:
    """Until told to end; a good worker obeys."""
    while True:
        obey(told.get())


def chat(seconds: str, number: int, start: Start) -> None:
    """Say something every so often, until told to end."""
    while True:
        emit(EventType.AGENT_MESSAGE, text="…")
        try:
            obey(told.get(timeout=float(seconds)))
        except Empty:
            continue


def hang(_: str, number: int, start: Start) -> None:
    """Obey nothing, not even SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    emit(EventType.AGENT_MESSAGE, text="hanging")
    while True:
        time.sleep(60)


def obey(line: ToWorker | None) -> None:
    if isinstance(line, DoCancel):
        emit(EventType.RUN_CANCELLED, message=line.cancel.message, by=line.cancel.by, politely=True)
        leave()
    if isinstance(line, DoInterrupt):
        emit(EventType.SESSION_INTERRUPTED, message=line.message, politely=True)
        leave()
    if line is None:
        leave()


def die(_: str, number: int, start: Start) -> None:
    print("something terrible", file=sys.stderr, flush=True)  # noqa: T201 - its last words
    os.kill(os.getpid(), signal.SIGKILL)


def done(text: str, number: int, start: Start) -> None:
    emit(EventType.RUN_RESULT, text=text)
    emit(EventType.RUN_COMPLETED, text=text)


DO = {
    function.__name__: function
    for function in (
        *(call, calls, drop, private),
        *(answer, pace, message, messages, big, usage, draft, tokens, leak, session),
        *(sleep, env, cwd, tree, orphan),
        *(ask, hear, wait, chat, hang, die, done),
    )
}

if __name__ == "__main__":
    main()
    leave()
