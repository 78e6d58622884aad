"""Set up logging: one line an event on stderr, for people or as JSON. stdout belongs to what a command answers.

No line shows a secret that this process has used: `conceal` is told of them, and every line is masked as it is written.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO, cast

import structlog

from corral.base.redactor import Redactor

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

#: So many values, and characters of them, are remembered: those used last.
MOST_CONCEALED = 500
MOST_CHARACTERS = 4_000_000

#: The request that this task works for: every line says so.
_request: ContextVar[str | None] = ContextVar("request", default=None)
_concealed: OrderedDict[str, Redactor] = OrderedDict()


def set_up(form: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Write logs of at least `level` to `stream` (stderr); `form` is json, console, or auto: console at a terminal."""
    out = stream or sys.stderr
    masked = cast("TextIO", _Masked(out))
    as_json = form == "json" or (form == "auto" and not out.isatty())
    structlog.configure(
        processors=[
            _name_request,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
            *_renderers(as_json=as_json, colors=out.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS.get(level.lower(), logging.INFO)),
        logger_factory=structlog.WriteLoggerFactory(masked),
        cache_logger_on_first_use=False,
    )
    # Libraries that log by the standard module say only what went wrong: httpx would print each URL.
    logging.basicConfig(stream=masked, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True)


def get_logger(**context: Any) -> Any:
    """Return a logger whose lines carry `context`, such as a run's id. It may be made before `set_up`."""
    return structlog.get_logger(**context)


def work_for(request_id: str | None) -> None:
    """Let the lines of this task, and of those it starts from now on, name the request that it works for."""
    _request.set(request_id)


@contextlib.contextmanager
def working_for(request_id: str | None) -> Iterator[None]:
    """Do so for a while only."""
    token = _request.set(request_id)
    try:
        yield
    finally:
        _request.reset(token)


def worked_for() -> str | None:
    """Return the id of the request that this task works for, if there is one."""
    return _request.get()


def conceal(secrets: Iterable[tuple[str, str]]) -> None:
    """Mask these values, by their names, in every line from now on."""
    for name, value in secrets:
        if value in _concealed:
            _concealed.move_to_end(value)
        elif not (redactor := Redactor([(name, value)])).is_empty:
            _concealed[value] = redactor
    characters = sum(map(len, _concealed))
    while len(_concealed) > MOST_CONCEALED or (characters > MOST_CHARACTERS and len(_concealed) > 1):
        characters -= len(_concealed.popitem(last=False)[0])


def concealed(text: str) -> str:
    """Return a text as a line of the log may show it."""
    for redactor in _concealed.values():
        text = redactor.text(text)
    return text


class _Masked:
    """A stream that may break: no work ends because the disk with its log is full, or the terminal is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(concealed(text))

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def _name_request(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (request_id := _request.get()) is not None:
        event.setdefault("request_id", request_id)
    return event


def _renderers(*, as_json: bool, colors: bool) -> list[Any]:
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, exception_formatter=plain)]
