"""A server is lost and restored: it runs, its secrets open, and what was done since the backup is not done again."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import ServerMaker
from tests.flows.company import Company
from tests.flows.conftest import FleetMaker
from tests.support import warm
from tests.support.model import Model
from tests.support.server import Server
from tests.support.waiting import eventually


def corral(*arguments: str, server: Server) -> str:
    where = ("--data", str(server.data))
    done = warm.run((*arguments, *where), env=server.process.env, cwd=server.process.cwd, within=180)
    assert done.code == 0, done.err
    return done.out


def test_after_a_restore_what_was_at_work_ends_as_its_machine_says_and_is_not_done_again(
    make_fleet: FleetMaker, folder: Path
) -> None:
    fleet = make_fleet(max_pods=2)
    server, work, archive = fleet.server, fleet.runner.work, str(folder / "a.zip")
    gates = "%bash echo {0} >> done; while [ ! -e {0} ]; do sleep 0.05; done"
    ended = fleet.launch(f"{gates.format('first')} %% %say first is done")
    goes_on = fleet.launch(f"{gates.format('second')} %% %say second is done")
    queued = fleet.launch("%bash echo third >> done %% %say third is done")
    eventually(lambda: sorted((work / "done").read_text().split()) == ["first", "second"])
    for run in (ended, goes_on):
        fleet.wait_event(run, "agent.tool_call")
    corral("backup", archive, server=server)

    (work / "first").touch()
    fleet.completed(ended)
    fleet.completed(queued)
    before = fleet.events(ended)
    later = fleet.launch("%say begun after the backup")
    fleet.completed(later)
    server.kill()
    corral("restore", archive, "--replace", server=server)
    server.restart()

    fleet.completed(ended)
    untimed = [[{**event, "created_at": ""} for event in log] for log in (before, fleet.events(ended))]
    assert untimed[0] == untimed[1]
    assert fleet.run(queued)["status"] == "PAUSED"
    assert fleet.api.get("/api/v1/runs/:id", later).status_code == 404
    (work / "second").touch()
    fleet.completed(goes_on)
    for run in (ended, goes_on):
        fleet.hold(run)
        assert len(fleet.payloads(run, "run.started")) == 1
    assert sorted((work / "done").read_text().split()) == ["first", "second", "third"]


def test_a_restore_elsewhere_runs_and_opens_its_secrets_with_the_key_alone(
    make_fleet: FleetMaker, make_server: ServerMaker, model: Model, folder: Path
) -> None:
    fleet = make_fleet()
    agent = Company(fleet.server, {"box": fleet.runner}, model).agent("Kept", on="box")
    body = {"key": "KEPT_TOKEN", "value": "vQ7rT2mZ9pXk4LwB"}
    assert fleet.api.post("/api/secrets", body=body).status_code == 200
    corral("backup", str(folder / "a.zip"), server=fleet.server)
    fleet.runner.stop()
    fleet.server.stop()

    other = make_server(started=False, env={"CORRAL_BOOTSTRAP_KEY": fleet.server.key})
    corral("restore", str(folder / "a.zip"), server=other)
    (other.data / "secret.key").write_bytes((fleet.server.data / "secret.key").read_bytes())
    other.key = fleet.server.key  # the keys of its people and runners are as they were
    other.start()
    fleet.runner.process.env["CORRAL_URL"] = other.url
    fleet.runner.start()
    again = Company(other, {"box": fleet.runner}, model)
    fleet.runner.wait_online(again.api)
    task = again.task(agent, "%bash echo token is $KEPT_TOKEN %% %say it works")
    run = eventually(lambda: again.look(task)["run_id"])
    again.completed(run)
    assert "token is [redacted:KEPT_TOKEN]" in json.dumps(again.payloads(run, "agent.tool_result"))
