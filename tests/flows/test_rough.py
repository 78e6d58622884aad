"""What happens at once, too early, twice, or in bytes nobody expects."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import ServerMaker
from tests.flows.conftest import FleetMaker
from tests.flows.fleet import Escaped, Fleet
from tests.support.runner import Runner
from tests.support.waiting import eventually


def test_of_many_answers_at_once_one_counts(fleet: Fleet) -> None:
    run = fleet.launch("%bash touch raced %% %say done", mode="default")
    asked = fleet.asked(run)
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda n: fleet.answer(asked, "allow" if n % 2 else "deny"), range(6)))
    assert sorted(statuses) == [200, 409, 409, 409, 409, 409]
    fleet.completed(run)
    assert len(fleet.payloads(run, "permission.resolved")) == 1


def test_a_run_cancelled_at_any_moment_of_its_start_is_cancelled_and_leaves_nothing(fleet: Fleet) -> None:
    marks = [Escaped(fleet.runner.work) for _ in range(3)]
    runs = []
    for n, mark in enumerate(marks):
        run = fleet.launch(mark.script)
        runs.append(run)
        time.sleep(0.45 * n)  # each is somewhere else between its claim and its first tool
        fleet.cancel(run)
    for run, mark in zip(runs, marks, strict=True):
        fleet.wait(run, "CANCELLED")
        fleet.hold(run)
        if mark.file.exists():
            mark.assert_gone([int(line) for line in mark.file.read_text().split()])


def test_of_two_follow_ups_at_once_one_forks(fleet: Fleet) -> None:
    parent = fleet.launch("%say parent")
    fleet.completed(parent)
    with ThreadPoolExecutor(2) as pool:
        children = list(pool.map(lambda n: fleet.follow_up(parent, f"%say child {n}"), range(2)))
    for n, child in enumerate(children):
        fleet.completed(child)
        assert fleet.text(child) == f"child {n}"
    sessions = {fleet.payloads(run, "session.init")[-1]["session_id"] for run in (parent, *children)}
    assert len(sessions) == 2


def test_bytes_that_are_no_text_do_not_break_a_log(fleet: Fleet) -> None:
    script = r"%bash printf 'nul \0 bad \377\376 esc \033[31m bell \a' %% %bash seq 1 60000 %% %say survived"
    run = fleet.launch(script)
    fleet.completed(run)
    fleet.hold(run)
    results = [one["output"] for one in fleet.payloads(run, "agent.tool_result")]
    assert results[0].startswith("nul ")
    assert fleet.text(run) == "survived"
    entries = fleet.api.get("/api/v1/runs/:id/events", run).json()["data"]
    assert json.dumps(entries)


def test_a_prompt_that_looks_like_an_option_or_a_file_is_only_a_prompt(fleet: Fleet) -> None:
    run = fleet.launch("--dangerously-skip-permissions @/etc/passwd $(touch pwned) `touch pwned` %% %say fine")
    fleet.completed(run)
    assert fleet.text(run) == "fine"
    assert not (fleet.runner.work / "pwned").exists()


def test_a_second_runner_on_the_same_data_directory_is_refused(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(name="one")
    first = fleet.runner
    second = Runner(
        first.folder, url=fleet.server.url, key=fleet.server.key, model_url="http://127.0.0.1:9", name="two"
    )
    second.start()
    assert second.process.wait() != 0
    assert str(first.data) in second.process.output()
    assert first.process.is_running()


def test_a_second_server_on_the_same_data_directory_is_refused(make_server: ServerMaker) -> None:
    first = make_server(command="up", arguments=("--no-runner",))
    second = make_server(command="up", arguments=("--no-runner",), started=False)
    position = second.process.command.index("--data") + 1
    second.process.command[position] = str(first.data)
    second.process.start()
    assert second.process.wait() != 0
    assert str(first.data) in second.process.output()
    assert first.is_healthy()


def test_a_runner_without_allowed_directories_or_with_a_wrong_key_does_not_start(make_fleet: FleetMaker) -> None:
    fleet = make_fleet()
    folder = fleet.runner.folder.parent
    bare = Runner(folder / "bare", url=fleet.server.url, key=fleet.server.key, model_url="http://127.0.0.1:9")
    del bare.process.env["ALLOWED_DIRS"]
    bare.start()
    assert bare.process.wait() != 0
    assert "ALLOWED_DIRS" in bare.process.output()
    wrong = Runner(folder / "wrong", url=fleet.server.url, key="crl_live_wrong", model_url="http://127.0.0.1:9")
    wrong.start()
    eventually(lambda: "key" in wrong.process.output(), what="it says that the key is wrong")
    assert "crl_live_wrong" not in wrong.process.output()
    wrong.stop()
