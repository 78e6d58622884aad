"""Log lines: JSON for machines, one line for people, with the context of who says it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from corral.base import logs


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_lines_hold_context_and_traceback() -> None:
    out, log = io.StringIO(), logs.get_logger(run="r1")  # made before logs are set up, as at import
    logs.set_up("json", "info", out)
    log.debug("hidden")
    log.info("run started", pid=7)
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("broke")
    started, broke = (json.loads(line) for line in out.getvalue().splitlines())
    assert (started["event"], started["run"], started["pid"], started["level"]) == ("run started", "r1", 7, "info")
    assert "ValueError: no" in broke["exception"]


def test_people_read_plain_lines() -> None:
    out = io.StringIO()
    logs.set_up("console", "debug", out)
    logs.get_logger().debug("hello", why="it is day")
    assert "hello" in out.getvalue()
    assert "why='it is day'" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_where_nobody_looks_lines_are_json() -> None:
    out = io.StringIO()
    logs.set_up("auto", "info", out)
    logs.get_logger().info("hello")
    assert json.loads(out.getvalue())["event"] == "hello"


def test_a_full_disk_or_a_terminal_that_is_gone_ends_no_work() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    logs.set_up("json", "info", Broken())
    logs.get_logger().error("the end of the run cannot be written")
