"""The audit log over HTTP: who did what to what, when and from where."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Callable

from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api


def test_a_change_says_who_made_it_from_where_in_which_request_and_what_it_was(quiet: Api) -> None:
    headers = {"X-Request-Id": f"audit-{uuid.uuid4()}"}
    made = quiet.post("/api/v1/keys", body={"name": "audited", "scopes": ["runs:read"]}, headers=headers).json()
    (line,) = audit(quiet, target_id=made["id"])
    assert line["request_id"] == headers["X-Request-Id"]
    assert (line["action"], line["target_kind"], line["address"]) == ("key.created", "key", "127.0.0.1")
    assert line["actor"].startswith("key:")
    assert line["actor_name"] == "bootstrap key"
    assert (line["detail"]["name"], line["detail"]["scopes"]) == ("audited", ["runs:read"])
    assert made["key"] not in str(line)
    quiet.delete("/api/v1/keys/:id", made["id"])
    assert [one["action"] for one in audit(quiet, target_id=made["id"])] == ["key.revoked", "key.created"]


def test_a_change_tells_what_was_before_and_never_a_prompt_or_a_secret(quiet: Api) -> None:
    agent = {"name": "Old", "role": "SECRET ROLE", "model": "m", "provider": "anthropic", "glyph": "🐎"}
    id_ = quiet.post("/api/agents", body=agent).json()["id"]
    quiet.patch("/api/agents/:id", id_, body={"name": "New", "team": "red", "role": "SECRET RULE", "model": "m"})
    task = {"title": "Short", "input": "SECRET PROMPT", "assignee": id_}
    task_id = quiet.post("/api/tasks", body=task).json()["id"]
    quiet.post("/api/secrets", body={"key": "AUDITED", "value": "SECRET VALUE"})
    mcp = {"name": f"m-{uuid.uuid4().hex[:6]}", "transport": "stdio", "command": "true", "env": {"TOKEN": "SECRET ENV"}}
    mcp_id = quiet.post("/api/mcps", body=mcp).json()["id"]
    quiet.patch("/api/mcps/:id", mcp_id, body={"env": {"TOKEN": "SECRET OTHER"}, "enabled_for": "all"})
    changed, created = audit(quiet, target_id=id_)
    assert changed["detail"] == {
        "name": "Old", "from": {"name": "Old", "team": None}, "to": {"name": "New", "team": "red"}, "also": ["role"],
    }  # fmt: skip
    assert created["detail"]["model"] == "m"
    assert audit(quiet, target_id=task_id)[0]["detail"]["title"] == "Short"
    assert audit(quiet, target_id=mcp_id)[0]["detail"] == {"name": mcp["name"], "also": ["env"]}
    secret = audit(quiet, target_kind="secret", target_id="AUDITED")[0]
    assert (secret["action"], secret["detail"]["version"]) == ("secret.stored", 1)
    assert "SECRET" not in str([changed, created, audit(quiet, limit=1000)]).replace("AUDITED", "")


def test_the_same_request_again_and_one_that_is_refused_leave_no_second_line(quiet: Api) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"prompt": "once", "cwd": "/nowhere/in/particular"}
    made = [quiet.post("/api/v1/runs", body=body, headers=headers).json()["id"] for _ in range(3)]
    assert [line["action"] for line in audit(quiet, target_id=made[0])] == ["run.launched"]
    assert quiet.post("/api/runs/:id/cancel", made[0]).status_code == 200
    assert quiet.post("/api/runs/:id/cancel", made[0]).status_code == 409
    assert [line["action"] for line in audit(quiet, target_id=made[0])] == ["run.cancelled", "run.launched"]


def test_what_an_agent_does_by_a_tool_is_its_runs_doing_from_its_runners_machine(by_hand: Api) -> None:
    hand = ByHand(by_hand, f"audit-{uuid.uuid4().hex[:6]}")
    hand.register()
    boss, other = hand.working(), f"reader-{uuid.uuid4().hex[:6]}"
    body = {"name": other, "role": "r", "model": "m", "provider": "anthropic", "glyph": "🐎", "cli_name": "claude-code"}
    by_hand.post("/api/agents", body=body).raise_for_status()
    call = {"call_id": "c1", "input": {"to": other, "title": "Handed on", "input": "do it", "wait": False}}
    told = hand.tools(boss).post("/api/v1/tools/:name", "delegate_task", body=call)
    assert told.json()["done"], told.text
    hand.tools(boss).post("/api/v1/tools/:name", "delegate_task", body=call)  # asked for again
    (line,) = audit(by_hand, actor=f"run:{boss['run_id']}")
    assert (line["action"], line["detail"]["title"]) == ("task.created", "Handed on")
    assert line["address"] == "127.0.0.1"
    assert line["actor_name"] is None


def test_lines_are_filtered_and_paged_and_a_table_of_them_has_all(quiet: Api) -> None:
    epics = [quiet.post("/api/epics", body={"title": f"=epic {n}"}).json() for n in range(5)]
    for epic in epics:
        quiet.delete("/api/epics/:id", epic["id"])
    mine = [line for line in audit(quiet, action="epic.deleted") if line["target_id"] in {one["id"] for one in epics}]
    assert [line["target_id"] for line in mine] == [one["id"] for one in reversed(epics)]
    window = {"since": mine[-1]["at"], "action": "epic.deleted", "actor": mine[0]["actor"]}
    first = quiet.get("/api/audit", query={**window, "limit": 2})
    assert len(first.json()["data"]) == 2
    seen = [line["id"] for line in first.json()["data"]]
    following = first.links.get("next")
    while following:
        page = quiet.get(following["url"])
        seen += [line["id"] for line in page.json()["data"]]
        following = page.links.get("next")
    assert seen == [line["id"] for line in mine]
    assert audit(quiet, until=mine[-1]["at"], target_id=epics[0]["id"])[0]["action"] == "epic.created"
    for asked in ({"headers": {"Accept": "text/csv"}}, {"query": {"format": "csv"}}):
        told = quiet.get("/api/audit", query={**window, **asked.get("query", {})}, headers=asked.get("headers"))
        assert told.headers["Content-Type"].startswith("text/csv")
        assert "attachment" in told.headers["Content-Disposition"]
        rows = list(csv.DictReader(io.StringIO(told.text)))
        assert [row["id"] for row in rows] == seen
        assert (rows[0]["action"], rows[0]["actor_name"]) == ("epic.deleted", "bootstrap key")


def test_bad_filters_are_named(quiet: Api) -> None:
    for query, field in (
        ({"before": "nonsense"}, "before"),
        ({"since": "yesterday"}, "since"),
        ({"limit": "0"}, "limit"),
        ({"format": "xml"}, "format"),
        ({"actr": "x"}, "actr"),
        ({"target_kind": "zoo"}, "target_kind must be one of agent, approval, budget"),
        ({"action": "key.lost"}, "action must be one of account.changed, agent.archived"),
    ):
        answer = quiet.get("/api/audit", query=query)
        assert answer.status_code == 400, answer.text
        assert field in answer.text


def test_the_log_is_for_who_may_read_it_and_nobody_writes_to_it(quiet: Api, key_for: Callable[..., Api]) -> None:
    with key_for("audit:read") as reader, key_for("keys:read", "runs:write") as other:
        assert reader.get("/api/audit").status_code == 200
        refused = other.get("/api/audit")
        assert refused.status_code == 403
        assert "audit:read" in refused.text
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert quiet.call(method, "/api/audit", body={}).status_code == 405


def audit(api: Api, **query: object) -> list[JSON]:
    answer = api.get("/api/audit", query=query)
    assert answer.status_code == 200, answer.text
    listed: list[JSON] = answer.json()["data"]
    return listed
