"""Which runner a run goes to, and when."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.conftest import FleetMaker
from tests.flows.fleet import Fleet
from tests.support.model import Model
from tests.support.waiting import eventually


def test_a_run_launched_before_any_runner_is_claimed_when_one_comes(
    make_server: ServerMaker, start_runner: RunnerMaker, model: Model, folder: Path
) -> None:
    server = make_server()
    early = Fleet(server, None, model)
    run = early.launch("%say at last", cwd=folder / "late" / "work")
    assert early.run(run)["status"] == "QUEUED"
    start_runner(server, name="late")
    early.completed(run)
    assert early.text(run) == "at last"


def test_pins_labels_and_directories_choose_between_two_runners(
    make_server: ServerMaker, start_runner: RunnerMaker, model: Model, folder: Path
) -> None:
    server = make_server()
    allowed = str(folder)
    one = start_runner(server, name="one", allowed=allowed, labels=("cpu",))
    two = start_runner(server, name="two", allowed=allowed, labels=("gpu", "big"))
    fleet = Fleet(server, one, model)
    shown = {runner["name"]: runner for runner in fleet.api.get("/api/v1/runners").json()["runners"]}
    cases = [
        (fleet.launch("%say a", runnerId=shown["one"]["runnerId"]), "one"),
        (fleet.launch("%say b", runnerId=shown["two"]["id"]), "two"),
        (fleet.launch("%say c", labels=["gpu"]), "two"),
        (fleet.launch("%say d", labels=["cpu"]), "one"),
    ]
    for run, name in cases:
        assert fleet.completed(run)["runnerId"] == shown[name]["runnerId"], name
    lonely = fleet.launch("%say e", labels=["cpu", "gpu"])
    two.stop()
    pinned = fleet.launch("%say g", runnerId=shown["two"]["id"])
    assert fleet.run(lonely)["status"] == "QUEUED"
    assert fleet.run(pinned)["status"] == "QUEUED"


def test_a_runner_takes_no_more_runs_than_it_has_slots(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(max_pods=2)
    runs = [fleet.launch(f"%bash touch started-{n}; while [ ! -e go ]; do sleep 0.05; done") for n in range(3)]
    eventually(lambda: len(list(fleet.runner.work.glob("started-*"))) == 2, what="two runs have started")
    statuses = [fleet.run(run)["status"] for run in runs]
    assert (statuses.count("RUNNING"), statuses.count("QUEUED")) == (2, 1)
    runner = fleet.api.get("/api/v1/runners").json()["runners"][0]
    assert (runner["pod_count"], runner["max_pods"]) == (2, 2)
    assert fleet.api.get("/api/v1/runners/available").json()["runners"] == []
    (fleet.runner.work / "go").touch()
    for run in runs:
        fleet.completed(run)
    assert {fleet.run(run)["status"] for run in runs} == {"COMPLETED"}


def test_two_runners_never_run_the_same_run(
    make_server: ServerMaker, start_runner: RunnerMaker, model: Model, folder: Path
) -> None:
    server = make_server()
    runners = [start_runner(server, name=name, allowed=str(folder), max_pods=3, online=False) for name in ("a", "b")]
    with server.api() as api:
        for runner in runners:
            runner.wait_online(api)
    fleet = Fleet(server, runners[0], model)
    log = folder / "log"
    runs = [fleet.launch(f"%bash echo run-{n} >> {log} %% %say done") for n in range(3)]
    for run in runs:
        fleet.completed(run)
        fleet.hold(run)
        assert len(fleet.payloads(run, "run.started")) == 1
    assert sorted(log.read_text().split()) == sorted(f"run-{n}" for n in range(3))
