"""Watch a run until it ends, answering on the way what it asks."""

from __future__ import annotations

import queue
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from corral.cli.asking import decide, pending_of
from corral.cli.client import Client
from corral.cli.errors import INTERRUPTED, OK, CommandError
from corral.cli.log import Log
from corral.cli.terminal import Terminal, one_line

Event = dict[str, Any]

_QUIET_SECONDS = 2.0


def follow(client: Client, run_id: str, out: Terminal, *, as_json: bool = False, after: int = 0) -> int:
    """Write the run's log as it grows; return 0 only if the run completed. ^C leaves the run going."""
    last, told = "", set[str]()
    events = client.events(run_id, after=after, on_away=_say)
    stream = Stream(events, on_quiet=lambda: _why(client, run_id, last, told))
    inline = out.is_terminal and sys.stdin.isatty() and not as_json
    log = Log(out, on_permission=lambda asks: _ask(client, run_id, asks, out, stream if inline else None))
    try:
        for event in stream:
            if as_json:
                _json_line(out, event)
            else:
                log.show(event)
            last = event.get("event_type") or last
            if last == "run.paused" and not as_json:
                _say(f"  Let it go on: corral continue {run_id}   Or: corral cancel {run_id}")
    except KeyboardInterrupt:
        log.close()
        if out.is_terminal:
            out.line()  # below the ^C, and what was asked
        if last not in ENDINGS:
            _say(f"The run goes on. Watch: corral logs {run_id} --follow   Cancel: corral cancel {run_id}")
        return INTERRUPTED
    log.close()
    if last not in ENDINGS:  # the stream had nothing newer: the run had ended before
        last = f"run.{client.get(f'/api/v1/runs/{run_id}')['status'].lower()}"
    return OK if last == "run.completed" else 1


def _why(client: Client, run_id: str, last: str, told: set[str]) -> None:
    """Say what a run waits for that does not start, each reason once."""
    if last not in _BEFORE_A_START:
        return
    try:
        run = client.get(f"/api/v1/runs/{run_id}")
    except CommandError:
        return  # the stream will tell
    reason = run.get("reason")
    if run["status"] == "QUEUED" and reason and reason not in told:
        told.add(reason)
        _say(f"Waiting: {one_line(reason)}")


_BEFORE_A_START = frozenset({"", "run.created", "run.paused", "session.interrupted", "user.message"})
ENDINGS = frozenset({"run.completed", "run.failed", "run.cancelled"})


class Stream:
    """The events of a blocking reader, with a way to wait for a person and for the next event at once.

    `on_quiet` is called while nothing comes; what it returns is taken for an event.
    """

    def __init__(self, events: Iterator[Event], *, on_quiet: Callable[[], Event | None]) -> None:
        self._on_quiet = on_quiet
        self._queue: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._ahead: list[Event | BaseException | None] = []
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def __iter__(self) -> Iterator[Event]:
        while True:
            item = self._ahead.pop(0) if self._ahead else self._next()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def line_unless_answered(self, request_id: str) -> str | None:
        """Return the line a person types, or None as soon as the request was answered elsewhere or the run ended."""
        while True:
            try:
                while True:
                    item = self._queue.get_nowait()
                    self._ahead.append(item)
                    if not isinstance(item, dict) or _settles(item, request_id):
                        return None
            except queue.Empty:
                pass
            if select.select([sys.stdin], [], [], 0.1)[0]:
                return sys.stdin.readline() or None

    def _next(self) -> Event | BaseException | None:
        while True:  # short waits, so that ^C is heard at once everywhere
            try:
                return self._queue.get(timeout=_QUIET_SECONDS)
            except queue.Empty:
                if (found := self._on_quiet()) is not None:
                    return found

    def _read(self, events: Iterator[Event]) -> None:
        try:
            for event in events:
                self._queue.put(event)
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 - raised where the events are read
            self._queue.put(error)


def _settles(event: Event, request_id: str) -> bool:
    kind, payload = str(event.get("event_type")), event.get("payload") or {}
    if kind in {"permission.resolved", "permission.withdrawn"}:
        return bool(payload.get("request_id") == request_id)
    return kind in ENDINGS or kind in {"session.interrupted", "run.paused"}


def _ask(client: Client, run_id: str, asks: dict[str, Any], out: Terminal, stream: Stream | None) -> None:
    approval = pending_of(client, run_id, str(asks.get("request_id")))
    if approval is None:
        return  # an old one, or answered meanwhile
    approval_id, is_question = approval["id"], asks.get("kind") == "question"
    if stream is None:
        verb = f"answer {approval_id} ANSWER" if is_question else f"allow {approval_id}"
        _say(f"  Answer it in the console, or: corral approvals {verb}")
        return
    try:
        answer = _questions(asks, out, stream) if is_question else _yes_or_no(asks, out, stream)
        if answer is not None:
            decide(client, approval_id, **answer)
    except CommandError as error:  # answered elsewhere in the same moment: the log will say how
        out.line(f"  {error.message}", "yellow")


def _yes_or_no(asks: dict[str, Any], out: Terminal, stream: Stream) -> dict[str, Any] | None:
    request_id = str(asks.get("request_id"))
    while True:
        out.write(out.paint("  Allow? [y]es, [n]o, or say why not: ", "bold"))
        line = stream.line_unless_answered(request_id)
        if line is None:
            out.line()
            return None
        said = line.strip()
        if said.lower() in {"y", "yes"}:
            return {"decision": "allow"}
        if said:
            return {"decision": "deny", "reason": None if said.lower() in {"n", "no"} else said}


def _questions(asks: dict[str, Any], out: Terminal, stream: Stream) -> dict[str, Any] | None:
    answers: dict[str, str] = {}
    for question in asks["input"].get("questions") or []:
        out.write(out.paint(f"  {asked_question(question)} ", "bold"))
        line = stream.line_unless_answered(str(asks.get("request_id")))
        if line is None:
            out.line()
            return None
        answers[str(question.get("question"))] = chosen(question, line.strip())
    return {"decision": "allow", "answers": answers}


def asked_question(question: dict[str, Any]) -> str:
    """Return the words that ask for one answer."""
    return "Number or text:" if question.get("options") else "Answer:"


def chosen(question: dict[str, Any], said: str) -> str:
    """Return the label of the option whose number was typed, else what was typed."""
    options = question.get("options") or []
    if said.isdigit() and 1 <= int(said) <= len(options):
        return str(options[int(said) - 1].get("label"))
    return said


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _json_line(out: Terminal, event: Event) -> None:
    import json

    out.line(json.dumps(event, ensure_ascii=False))
