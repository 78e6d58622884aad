"""A session whose attempts are interrupted, each in the midst of something else, goes on with what was cut off."""

import json
from typing import Any

from tests.engines.conftest import WorkerMaker
from tests.engines.worker import ESCAPE, Worker
from tests.support.processes import is_alive

AGENT = {"id": "0190f0f0-0000-7000-8000-000000000001", "name": "ada", "role": "Answer as a wombat."}
DELEGATE = f"%tool mcp__corral__delegate_task {json.dumps({'to': 'bob', 'title': 't', 'input': 'i', 'wait': True})}"
WRITE = '%tool Write {"file_path": "{{cwd}}/file", "content": "written"}'
#: Where Claude Code cannot save in time that it was cut off, as the machine is so busy, it is called again.
ONCE = f"%bash [ -e begun ] && exit; touch begun; {ESCAPE}"
SCRIPT = ["%bash echo once >> done", WRITE, DELEGATE, f"%say {{{{result}}}} %% {ONCE}", DELEGATE, "%say never"]


def interrupt(worker: Worker, message: str) -> None:
    worker.say("interrupt", message=message)
    assert worker.end() == {"type": "session.interrupted", "payload": {"message": message}}


def test_each_attempt_asks_again_or_goes_on_where_the_one_before_was_interrupted(make_worker: WorkerMaker) -> None:
    attempts: list[Worker] = []

    def attempt(**more: Any) -> Worker:
        if attempts:
            more |= {"session_id": attempts[0].session, "resume": "interrupted"}
        attempts.append(make_worker())
        prompt = "Continue where you left off." if len(attempts) > 1 else "%keep %% " + " %% %next %% ".join(SCRIPT)
        attempts[-1].start(prompt, mode="default", agent=AGENT, allowed_tools=["Bash"], attempt=len(attempts), **more)
        return attempts[-1]

    held = attempt(money={"allowed_micros": 1, "prices": []})
    held.wait_line("may_go_on")
    interrupt(held, "Paused")

    asking = attempt()
    asked = asking.wait_event("permission.requested")
    assert (asking.cwd / "done").read_text() == "once\n"  # what had ended is not done again
    interrupt(asking, "The runner was stopped")
    assert asking.payloads("permission.withdrawn") == []
    assert asking.payloads("agent.tool_result") == []  # nobody refused anything

    calling = attempt()
    again = calling.wait_event("permission.requested")
    assert (again["tool"], again["input"]) == (asked["tool"], asked["input"])
    calling.answer(again, "allow")
    call = calling.wait_line("call")
    assert (calling.cwd / "file").read_text() == "written"
    interrupt(calling, "bye")

    working = attempt()
    called = working.wait_line("call")
    assert (called["name"], called["input"]) == ("delegate_task", call["input"])
    long = "bob says " + "x" * 150_000  # read where it was asked for, not in a file
    working.say("answer", id=called["id"], text=long)
    tree = working.escaped()
    assert working.payloads("agent.message")[0]["text"] == long
    interrupt(working, "The runner was stopped")
    assert not any(is_alive(pid) for pid in tree)

    last = attempt()
    waiting = last.wait_line("call")
    last.say("cancel", cancel={"by": "ada", "message": "no"})
    assert last.end()["type"] == "run.cancelled"
    assert [line["id"] for line in last.of("drop")] == [waiting["id"]]
