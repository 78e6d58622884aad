"""How attempts end: by themselves, by what went wrong, by a person, by the loss of the job. Nothing outlives them."""

import os
import shutil
import signal
import sys
import time
from typing import Any

import pytest

from tests.engines.worker import ESCAPE, Worker, served
from tests.support.model import Model
from tests.support.processes import gone, is_alive
from tests.support.waiting import PATIENCE


@pytest.mark.parametrize(
    ("script", "more", "expected"),
    [
        ("%error 400 bad request", {}, ("model_api_error", "API Error: 400 bad request")),
        (
            "%repeat 9 %% %bash echo {{turn}} %% %end",
            {"limits": {"max_turns": 2}},
            ("max_turns", "of turns (2)"),
        ),
        ("%say x", {"env": {"ANTHROPIC_API_KEY": ""}}, ("cli_not_signed_in", "Not logged in")),
        ("%say x", {"env": {"CLAUDE_CLI_PATH": "/nothing/here"}}, ("cli_missing", "not found")),
        ("%say x", {"cwd": "/does/not/exist"}, ("cwd_missing", "/does/not/exist")),
    ],
)
def test_a_failure_has_a_code_the_cause_and_a_hint(
    worker: Worker, script: str, more: dict[str, Any], expected: tuple[str, str]
) -> None:
    worker.start(script, **more)
    failure = worker.failed()
    assert failure["code"] == expected[0]
    assert expected[1] in failure["message"]
    assert len(failure["hint"]) > 20
    assert all(result["is_error"] for result in worker.payloads("run.result"))
    done = [result["output"] for result in worker.payloads("agent.tool_result")]
    assert done == (["1", "2"] if failure["code"] == "max_turns" else [])


def test_a_claude_code_that_dies_fails_the_run_and_leaves_an_estimate_of_what_it_spent(
    worker: Worker, model: Model
) -> None:
    worker.start("%bash echo a %% %say so far %% %bash echo b %% %next %% %stall")
    worker.wait_event("agent.tool_result", count=2)
    os.kill(worker.cli, signal.SIGKILL)
    failure = worker.failed()
    assert failure["code"] == "cli_error"
    assert failure["message"] == "Claude Code was ended by signal 9"
    assert worker.spent() == served(model, worker.session)
    assert all(line["estimated"] and line["cost_micros"] is None for line in worker.usage())
    assert len({line["source"] for line in worker.usage()}) == len(worker.usage()) == 2


def test_a_cancel_ends_the_whole_tree_and_says_who_and_why(worker: Worker) -> None:
    worker.start(f"%bash {ESCAPE}")
    pids = worker.escaped()
    worker.say("cancel", cancel={"by": "ada", "message": "enough"})
    assert worker.end() == {"type": "run.cancelled", "payload": {"message": "enough", "by": "ada"}}
    assert not any(is_alive(pid) for pid in pids)


def test_a_stalled_model_does_not_keep_a_cancel_waiting_and_what_it_said_is_counted(
    worker: Worker, model: Model
) -> None:
    worker.start("%bash echo a %% %say half a %% %stall")
    worker.wait_line("token")
    began = time.monotonic()
    worker.say("cancel", cancel={})
    assert worker.end()["type"] == "run.cancelled"
    assert time.monotonic() - began < 10 * PATIENCE
    assert worker.spent() == served(model, worker.session)
    assert all(line["estimated"] for line in worker.usage())


def test_a_cancel_before_claude_code_is_up_ends_it_too(worker: Worker) -> None:
    worker.start("%say x")
    worker.say("cancel", cancel={})
    assert worker.end()["type"] == "run.cancelled"
    assert not any(is_alive(line["pid"]) for line in worker.lines if line["line"] == "child")


@pytest.mark.parametrize("how", ["stdin", "SIGTERM"])
def test_a_worker_whose_job_is_gone_ends_the_tree_and_itself(worker: Worker, how: str) -> None:
    worker.start(f"%bash {ESCAPE}")
    pids = worker.escaped()
    if how == "stdin":
        worker.close()
    else:
        worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60 * PATIENCE) == 0
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
def test_even_a_killed_worker_takes_claude_code_along(worker: Worker) -> None:
    worker.start("%repeat 100 %% %bash sleep 0.2 %% %end")
    worker.wait_event("agent.tool_call")
    worker.process.kill()
    gone(worker.cli)


def test_a_spare_that_is_no_longer_needed_just_ends(worker: Worker) -> None:
    worker.wait_line("ready")
    worker.close()
    assert worker.process.wait(60 * PATIENCE) == 0
    assert worker.lines == [{"line": "ready"}]
