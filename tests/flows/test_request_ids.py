"""One id from the request to the machine: what a client sent is found in the logs of the server and of the runner."""

from __future__ import annotations

import json
from typing import Any

from tests.flows.conftest import FleetMaker
from tests.support.waiting import eventually

JSON_LOGS = {"CORRAL_LOG_FORMAT": "json", "CORRAL_ACCESS_LOG": "on"}
ID = "a-deployment.4711"


def lines(output: str, **wanted: object) -> list[dict[str, Any]]:
    """The log's lines that have these fields."""
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [line for line in found if wanted.items() <= line.items()]


def test_a_request_is_found_in_the_logs_of_the_server_and_of_the_machine(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(server_env=JSON_LOGS, env={"CORRAL_LOG_FORMAT": "json"})
    server, runner = fleet.server.process, fleet.runner.process
    secret = "the prompt is nobody's business"
    body = {"prompt": secret, "cwd": str(fleet.runner.work)}
    answer = fleet.api.call("POST", "/api/v1/runs", body=body, headers={"X-Request-Id": ID})
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (201, ID)
    run = answer.json()["id"]
    eventually(lambda: lines(runner.output(), event="run ended", run=run), within=60)
    (asked,) = lines(server.output(), event="request", request_id=ID)
    assert (asked["method"], asked["route"], asked["status"]) == ("POST", "/api/v1/runs", 201)
    assert asked["actor"].startswith("key:")
    assert (asked["org"], asked["ms"] > 0) == (1, True)
    for event in ("run started", "run ended"):
        (told,) = lines(runner.output(), event=event, run=run)
        assert told["request_id"] == ID
    # Other requests have other ids, each its own, those of the runner among them.
    others = lines(server.output(), event="request", route="/api/v1/runners/<id>/poll")
    assert len({line["request_id"] for line in others}) == len(others)
    for secret_ in (secret, str(fleet.server.key)):
        assert secret_ not in server.output()
    stranger, named = fleet.server.api("crl_live_unknown"), {"X-Request-Id": "refused-1"}
    stranger.call("GET", "/api/v1/runs?api_key=in-a-query", headers=named)
    (refused,) = lines(server.output(), event="request", request_id="refused-1")
    assert (refused["status"], refused["route"], refused["actor"]) == (401, "/api/v1/runs", None)
    assert "in-a-query" not in server.output()


def test_a_task_that_is_begun_later_is_still_of_the_request_that_made_it(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(server_env=JSON_LOGS, env={"CORRAL_LOG_FORMAT": "json"})
    ada = {"name": "Ada", "role": "r", "glyph": "x", "provider": "anthropic", "model": "m", "cli_name": "claude-code"}
    body = {**ada, "provider_config": {"cwd": str(fleet.runner.work)}}
    agent = fleet.api.post("/api/agents", body=body).raise_for_status().json()["id"]
    message = {"to": agent, "text": "Say hello", "type": "question"}
    answer = fleet.api.call("POST", "/api/messages", body=message, headers={"X-Request-Id": "asked-by-a-person"})
    assert answer.status_code == 200, answer.text
    eventually(lambda: lines(fleet.runner.process.output(), event="run ended"), within=60)
    (told,) = lines(fleet.runner.process.output(), event="run started")
    assert told["request_id"] == "asked-by-a-person"
