"""Set up logging: one line an event on stderr, for people or as JSON. stdout belongs to what a command answers."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, TextIO, cast

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_up(form: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Write logs of at least `level` to `stream` (stderr); `form` is json, console, or auto: console at a terminal."""
    out = stream or sys.stderr
    as_json = form == "json" or (form == "auto" and not out.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
            *_renderers(as_json=as_json, colors=out.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS.get(level.lower(), logging.INFO)),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _BestEffort(out))),
        cache_logger_on_first_use=False,
    )
    # Libraries that log by the standard module say only what went wrong: httpx would print each URL.
    logging.basicConfig(stream=out, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True)


def get_logger(**context: Any) -> Any:
    """Return a logger whose lines carry `context`, such as a run's id. It may be made before `set_up`."""
    return structlog.get_logger(**context)


class _BestEffort:
    """A stream that may break: no work ends because the disk with its log is full, or the terminal is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def _renderers(*, as_json: bool, colors: bool) -> list[Any]:
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, exception_formatter=plain)]
