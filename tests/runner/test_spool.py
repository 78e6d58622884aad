"""The spool: what was written is read in order, whatever a crash cut off and wherever the server wants it from."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.runner import spool
from corral.wire.events import EventType, Usage
from corral.wire.runner import Held

HELD = Held("0190-run", 1, "lease")
#: What an attempt reports, in order: an event, or a usage line.
texts = st.text("""ab \n"é\\\u2028""", max_size=20)
records = st.lists(st.one_of(texts.map(lambda text: ("event", text)), st.integers(0, 9).map(lambda n: ("usage", n))))


def fill(path: Path, reported: list[tuple[str, object]]) -> spool.Spool:
    made = spool.create(path, HELD)
    for index, (kind, what) in enumerate(reported):
        if kind == "event":
            made.append(EventType.AGENT_MESSAGE, json.dumps({"text": what}).encode())
        else:
            made.append_usage(Usage(f"{index}", "m", output_tokens=int(str(what))))
    return made


def read_all(
    made: spool.Spool, *, start: int = 0, most: int = 3, stored: int = 0
) -> tuple[list[tuple[int, str]], list[str]]:
    events, usage = [], []
    while start < made.count:
        piece = made.read(start, most, 10_000, stored=stored)
        assert piece.next > start
        events += [(event.n, json.loads(bytes(event.payload))["text"]) for event in piece.events]
        usage += [line.source for line in piece.usage]
        start = piece.next
    return events, usage


@given(records)
@settings(max_examples=40)
def test_what_is_written_is_read_in_order_before_and_after_a_restart(reported: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        made = fill(Path(name), reported)
        events = [(n, what) for n, (_, what) in enumerate((r for r in reported if r[0] == "event"), 1)]
        usage = [str(index) for index, (kind, _) in enumerate(reported) if kind == "usage"]
        assert read_all(made) == (events, usage)
        made.release()
        again = spool.load(made.path)
        assert again is not None
        assert (again.last_n, again.held) == (len(events), HELD)
        assert read_all(again) == (events, usage)
        again.release()


@given(records, st.floats(0, 1))
@settings(max_examples=60)
def test_a_file_cut_off_anywhere_loses_only_its_end(reported: list[tuple[str, object]], share: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        made = fill(Path(name), reported)
        made.release()
        whole = made.path.read_bytes()
        cut = round(len(whole) * share)  # its length varies with the clock
        os.truncate(made.path, cut)
        again = spool.load(made.path)
        complete = whole[:cut].count(b"\n")
        if complete == 0:
            assert again is None
            assert not made.path.exists()
            return
        assert again is not None
        assert again.count == complete - 1
        n = again.append(EventType.RUN_FAILED, b'{"text":"after"}')
        events, _ = read_all(again)
        assert [number for number, _ in events] == list(range(1, n + 1))
        again.release()
        third = spool.load(again.path)
        assert third is not None
        assert (third.last_n, third.end) == (n, EventType.RUN_FAILED)
        third.release()


@given(records, st.data())
@settings(max_examples=60)
def test_going_back_to_any_event_sends_everything_after_it_again(
    reported: list[tuple[str, object]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        made = fill(Path(name), reported)
        everything, usage = read_all(made)
        stored = data.draw(st.integers(0, made.last_n))
        events, spent = read_all(made, start=made.after(stored), most=data.draw(st.integers(1, 7)), stored=stored)
        assert events == everything[stored:]
        position = [i for i, r in enumerate(reported) if r[0] == "event"][stored - 1] if stored else -1
        assert spent == [source for source in usage if int(source) > position]
        made.release()


def test_a_spool_that_lost_its_tail_numbers_on_from_what_the_server_has(folder: Path) -> None:
    made = fill(folder, [("event", "a"), ("event", "b")])
    made.append(EventType.SESSION_INTERRUPTED, b'{"text":"end"}')
    made.skip_to(7)
    assert (made.last_n, made.end_n) == (8, 8)
    [last] = made.read(made.after(7), 10, 1000, stored=7).events
    assert (last.n, last.type) == (8, "session.interrupted")
    made.release()


def test_what_was_only_drafted_counts_once_when_its_turn_tells_no_sums(folder: Path) -> None:
    def message(name: str, tokens: int) -> Usage:
        return Usage(f"1/message-{name}", "m", output_tokens=tokens, estimated=True)

    made = spool.create(folder, HELD)
    made.append_draft(message("a", 1))
    made.append_usage(Usage("1/turn-1/m", "m", output_tokens=9))
    for tokens in (1, 20):
        made.append_draft(message("b", tokens))
    made.append_draft(message("c", 3))
    made.append_usage(message("c", 4))
    made.release()
    again = spool.load(made.path)
    assert again is not None
    assert again.read(0, 100, 10_000).usage == [Usage("1/turn-1/m", "m", output_tokens=9), message("c", 4)]
    again.settle()
    again.settle()
    assert [line.output_tokens for line in again.read(0, 100, 10_000).usage] == [9, 4, 20]
    again.release()


def test_a_turns_line_holds_what_was_drafted_even_if_it_is_an_estimate(folder: Path) -> None:
    made = spool.create(folder, HELD)
    made.append_draft(Usage("1/message-a", "m", output_tokens=9, estimated=True))
    made.append_usage(Usage("1/turn-1/m", "m", output_tokens=9, estimated=True))  # one of its answers was broken off
    made.settle()
    assert [line.source for line in made.read(0, 100, 10_000).usage] == ["1/turn-1/m"]
    made.release()


def test_a_full_disk_leaves_no_half_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fill(folder, [("event", "a")])
    write = os.write

    def half(fd: int, data: memoryview) -> int:
        write(fd, bytes(data)[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            made.append(EventType.AGENT_MESSAGE, b'{"text":"lost"}')
    made.append(EventType.AGENT_MESSAGE, b'{"text":"b"}')
    assert read_all(made)[0] == [(1, "a"), (2, "b")]
    made.release()


def test_ages_are_counted_from_when_it_happened(folder: Path) -> None:
    made = spool.create(folder, HELD)
    made.append(EventType.AGENT_MESSAGE, b"{}", at=time.time() - 3600)
    made.append(EventType.AGENT_MESSAGE, b"{}", at=time.time() + 3600)  # the clock was set back meanwhile
    long_ago, in_future = made.read(0, 10, 1000).events
    assert 3599 < long_ago.age < 3700
    assert in_future.age == 0
    made.release()


def test_the_same_attempt_is_never_begun_twice(folder: Path) -> None:
    spool.create(folder, HELD).release()
    with pytest.raises(FileExistsError):
        spool.create(folder, HELD)


def test_a_run_id_cannot_leave_the_folder(folder: Path) -> None:
    made = spool.create(folder, Held("../../etc/passwd", 1, "l"))
    assert made.path.parent == folder
    made.release()


def test_only_files_whose_end_was_acknowledged_a_day_ago_are_deleted(folder: Path) -> None:
    paths = []
    for attempt, (closed, days) in enumerate([(True, 2), (True, 0.5), (False, 2)]):
        made = spool.create(folder, Held("run", attempt, "l"))
        made.append(EventType.RUN_COMPLETED, b"{}")
        if closed:
            made.close("stored")
        made.release()
        os.utime(made.path, (0, time.time() - days * 86400))
        paths.append(made.path)
    odd = folder / "odd.1.jsonl"
    odd.mkdir()
    os.utime(odd, (0, 0))
    assert spool.prune(folder, time.time()) == 1  # what cannot be read keeps no other from being deleted
    assert [path.exists() for path in paths] == [False, True, True]


def test_files_are_private(folder: Path) -> None:
    made = spool.create(folder / "spool", HELD)
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700
    made.release()
