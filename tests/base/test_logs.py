"""Log lines: JSON for machines, one line for people, with the context of who says it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from corral.base import logs
from tests.base.test_redactor import ODD, TOKEN, WRITTEN


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logs._concealed.clear()


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


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_line_shows_a_value_that_was_concealed_however_it_is_written(form: str) -> None:
    out, log = io.StringIO(), logs.get_logger(run="r1")
    logs.set_up(form, "info", out)
    logs.conceal({"TOKEN": TOKEN, "ODD": ODD, "SHORT": "short"}.items())
    for way in WRITTEN.values():
        for value in (TOKEN, ODD):
            log.info("said", text=f"a {way(value)} b", items=[way(value), "short"])
    logging.getLogger("httpx").warning("%s is not a URL", TOKEN)
    try:
        raise ValueError(TOKEN)
    except ValueError:
        log.exception("broke")
    text = out.getvalue()
    assert text.count("[redacted:TOKEN]") >= 2 * len(WRITTEN) + 2
    assert text.count("[redacted:ODD]") >= 2 * len(WRITTEN)
    assert "short" in text
    for way in WRITTEN.values():
        assert way(TOKEN).strip("='\"")[2:-2] not in text
    if form == "json":
        assert all(json.loads(line)["event"] for line in text.splitlines() if line.startswith("{"))


def test_the_values_that_are_remembered_are_bounded_and_those_used_last() -> None:
    first = "first-value-of-all"
    logs.conceal([("FIRST", first), ("OTHER", "other-value-of-all")])
    for at in range(logs.MOST_CONCEALED - 1):
        logs.conceal([("FIRST", first), (f"N{at}", f"numbered-value-{at:04}")])
    assert logs.concealed(first) == "[redacted:FIRST]"
    assert logs.concealed("other-value-of-all") == "other-value-of-all"
    logs.conceal([("BIG", "abcdefgh" * (logs.MOST_CHARACTERS // 8 + 1))])
    assert logs.concealed(first) == first


async def test_lines_name_the_request_that_a_task_works_for_and_so_do_those_of_tasks_it_starts() -> None:
    out = io.StringIO()
    logs.set_up("json", "info", out)
    log = logs.get_logger()

    async def work(name: str) -> None:
        logs.work_for(name)
        await asyncio.gather(asyncio.create_task(part(name)), asyncio.sleep(0))
        with logs.working_for(None):
            log.info("beside", of=name)
        log.info("done", of=name)

    async def part(name: str) -> None:
        log.info("part", of=name)

    await asyncio.gather(*(asyncio.create_task(work(name)) for name in ("first", "second")))
    log.info("afterwards")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {(line["event"], line.get("of"), line.get("request_id")) for line in lines} == {
        ("part", "first", "first"), ("done", "first", "first"), ("beside", "first", None),
        ("part", "second", "second"), ("done", "second", "second"), ("beside", "second", None),
        ("afterwards", None, None),
    }  # fmt: skip
