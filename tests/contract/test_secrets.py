"""Fleetrun: secrets, stored and deleted by name and never returned."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.reference import RFC3339
from tests.support.http import JSON, Api
from tests.support.second_org import second_org
from tests.support.server import Server

UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"
VALUE = "sk-never-to-be-seen-again"


def names(api: Api) -> list[str]:
    return [one["key"] for one in api.get("/api/secrets", query={"limit": 1000}).raise_for_status().json()]


def test_a_secret_is_stored_listed_without_its_value_and_deleted(quiet: Api) -> None:
    stored = quiet.post("/api/secrets", body={"key": "GITHUB_TOKEN", "value": VALUE, "scope": "org"})
    assert (stored.status_code, stored.json()) == (200, {"ok": True})
    listed = quiet.get("/api/secrets")
    assert listed.status_code == 200
    (entry,) = [one for one in listed.json() if one["key"] == "GITHUB_TOKEN"]
    assert set(entry) == {"key", "scope", "agentId", "updatedAt", "version", "lastUsedAt", "lastUsedBy"}
    assert (entry["scope"], entry["agentId"]) == ("org", None)
    assert (entry["version"], entry["lastUsedAt"], entry["lastUsedBy"]) == (1, None, None)
    assert RFC3339.fullmatch(entry["updatedAt"])
    assert VALUE not in listed.text + stored.text
    deleted = quiet.delete("/api/secrets", body={"key": "GITHUB_TOKEN", "scope": "org"})
    assert (deleted.status_code, deleted.json()) == (200, {"ok": True})
    assert "GITHUB_TOKEN" not in names(quiet)
    again = quiet.delete("/api/secrets", query={"key": "GITHUB_TOKEN"})
    assert again.status_code == 404
    assert "GITHUB_TOKEN" in again.json()["error"]


def test_a_secret_is_created_or_updated_and_what_was_listed_may_be_sent_back(quiet: Api) -> None:
    for value in ("one", "two"):
        stored = quiet.post("/api/secrets", body={"key": "TWICE", "value": value})
        assert stored.status_code == 200
        warning = "The value is not masked where agents print it: it is shorter than 8 characters"
        assert stored.json() == {"ok": True, "warning": warning}
    assert names(quiet).count("TWICE") == 1
    (entry,) = [one for one in quiet.get("/api/secrets").json() if one["key"] == "TWICE"]
    assert quiet.post("/api/secrets", body={**entry, "value": "three"}).status_code == 200
    assert quiet.delete("/api/secrets", body=entry).json() == {"ok": True}


def test_filters_are_read_from_the_query_or_as_the_reference_has_it_from_a_body(quiet: Api) -> None:
    quiet.post("/api/secrets", body={"key": "FILTERED", "value": "v"})
    assert "FILTERED" in names(quiet)
    assert quiet.call("GET", "/api/secrets", body={"scope": "agent"}).json() == []
    both = quiet.call("GET", "/api/secrets", body={"scope": "agent"}, query={"scope": "org"})
    assert "FILTERED" in [one["key"] for one in both.json()]
    deleted = quiet.delete("/api/secrets", query={"key": "FILTERED"}, body={"key": "ANOTHER"})
    assert deleted.status_code == 200
    assert "FILTERED" not in names(quiet)


def test_the_list_is_newest_first_and_its_link_leads_on(quiet: Api) -> None:
    for n in range(3):
        quiet.post("/api/secrets", body={"key": f"PAGED_{n}", "value": "v"})
    first = quiet.get("/api/secrets", query={"limit": 2})
    assert [one["key"] for one in first.json()] == ["PAGED_2", "PAGED_1"]
    path = first.headers["Link"].partition(">")[0].lstrip("<")
    assert quiet.call("GET", path).json()[0]["key"] == "PAGED_0"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"value": "v"}, "key"),
        ({"key": "A"}, "value"),
        ({"key": "lower", "value": "v"}, "key"),
        ({"key": "A\n", "value": "v"}, "key"),
        ({"key": "A-B", "value": "v"}, "key"),
        ({"key": "A", "value": ""}, "value"),
        ({"key": "A", "value": "x" * 65537}, "value"),
        ({"key": "A", "value": "€" * 21846}, "value"),
        ({"key": "A", "value": "a\0b"}, "value"),
        ({"key": "A", "value": 1}, "value"),
        ({"key": "A", "value": "v", "scope": "team"}, "scope"),
        ({"key": "A", "value": "v", "scope": "agent"}, "agentId"),
        ({"key": "A", "value": "v", "scope": "org", "agentId": UNKNOWN}, "agentId"),
        ({"key": "A", "value": "v", "agentId": UNKNOWN}, "agentId"),
        ({"key": "A", "value": "v", "agent_id": "nonsense"}, "agent"),
        ({"key": "A", "value": "v", "note": "n"}, "note"),
    ],
)
def test_a_bad_secret_is_refused_by_field_and_not_stored(quiet: Api, body: JSON, field: str) -> None:
    answer = quiet.post("/api/secrets", body=body)
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]
    assert "A" not in names(quiet)


def test_values_of_64_kib_are_taken(quiet: Api) -> None:
    assert quiet.post("/api/secrets", body={"key": "LONG", "value": "x" * 65536}).status_code == 200


def test_deleting_needs_a_name_and_a_known_agent(quiet: Api) -> None:
    for query, field in (
        ({}, "key"),
        ({"key": "A", "scope": "agent"}, "agentId"),
        ({"key": "A", "agentId": UNKNOWN}, "agentId"),
    ):
        answer = quiet.delete("/api/secrets", query=query)
        assert answer.status_code == 400
        assert field in answer.json()["error"]
    for query in ({"agent": UNKNOWN}, {"scope": "org", "agent": UNKNOWN}, {"before": "NOBODY"}):
        answer = quiet.get("/api/secrets", query=query)
        assert answer.status_code == 400
        assert next(name for name in ("agent", "before") if name in query) in answer.json()["error"]


def test_secrets_are_of_one_org_alone(quiet: Api, quiet_server: Server) -> None:
    quiet.post("/api/secrets", body={"key": "OURS", "value": "v"})
    with second_org(quiet_server) as other:
        assert other.get("/api/secrets").json() == []
        assert other.delete("/api/secrets", query={"key": "OURS"}).status_code == 404
    assert "OURS" in names(quiet)


def test_a_repeat_with_an_idempotency_key_is_answered_the_same_and_shows_nothing(quiet: Api) -> None:
    for _ in range(2):
        answer = quiet.post(
            "/api/secrets", body={"key": "REPEATED", "value": VALUE}, headers={"Idempotency-Key": "secret-once"}
        )
        assert (answer.status_code, answer.json()) == (200, {"ok": True})


def test_reading_names_and_storing_values_are_two_scopes(key_for: Callable[..., Api]) -> None:
    reader, writer = key_for("secrets:read"), key_for("secrets:write")
    assert reader.get("/api/secrets").status_code == 200
    assert writer.post("/api/secrets", body={"key": "BY_WRITER", "value": "v"}).status_code == 200
    for refused in (reader.post("/api/secrets", body={}), reader.delete("/api/secrets"), writer.get("/api/secrets")):
        assert refused.status_code == 403
        assert "secrets:" in refused.json()["error"]


def test_no_value_is_in_the_database_or_the_log(quiet: Api, quiet_server: Server) -> None:
    assert quiet.post("/api/secrets", body={"key": "DUMPED", "value": VALUE + "-dumped"}).status_code == 200
    stored = quiet_server.stored()
    assert b"DUMPED" in stored
    assert (VALUE + "-dumped").encode() not in stored
    assert VALUE not in quiet_server.output()


def test_the_master_key_is_changed_and_secrets_stay(quiet: Api, house: str, key_for: Callable[..., Api]) -> None:
    quiet.post("/api/secrets", body={"key": "ROTATED", "value": "v"})
    answer = quiet.post("/api/secrets/rotate", body={})
    assert (answer.status_code, answer.json()["left"]) == (200, 0)
    # Servers that share their key have it in the settings, where no request changes it.
    assert answer.json()["orgs"] >= (1 if house == "one" else 0)
    again = quiet.post("/api/secrets/rotate", body={"renew": False})
    assert again.json() == {**answer.json(), "orgs": 0}
    assert "ROTATED" in names(quiet)
    assert key_for("secrets:read").post("/api/secrets/rotate", body={}).status_code == 403


def test_an_owner_of_another_org_may_not_change_the_master_key_of_all(quiet: Api, quiet_server: Server) -> None:
    key = quiet.post("/api/secrets/rotate", body={"renew": False}).json()["key"]
    with second_org(quiet_server) as other:
        refused = other.post("/api/secrets/rotate", body={})
    assert refused.status_code == 403
    assert "only an owner of its first org may" in refused.json()["error"]
    assert quiet.post("/api/secrets/rotate", body={"renew": False}).json()["key"] == key


def test_the_uses_of_a_secret_are_listed_and_lead_on(quiet: Api, quiet_server: Server) -> None:
    quiet.post("/api/secrets", body={"key": "TESTED_WITH", "value": VALUE})
    headers = {"Authorization": "Bearer ${TESTED_WITH}"}
    body = {"name": "uses", "transport": "http", "url": "http://127.0.0.1:9/mcp", "headers": headers}
    server = quiet.post("/api/mcps", body=body).json()["id"]
    for _ in range(2):
        assert quiet.post("/api/mcps/:id/test", server, body={}).status_code == 200
    answer = quiet.get("/api/secrets/uses", query={"key": "TESTED_WITH", "limit": 1})
    (use,) = answer.json()
    assert set(use) == {"id", "key", "scope", "agentId", "version", "usedBy", "attempt", "usedAt"}
    assert (use["key"], use["scope"], use["agentId"], use["version"]) == ("TESTED_WITH", "org", None, 1)
    assert use["usedBy"].startswith("key:")
    assert RFC3339.fullmatch(use["usedAt"])
    path = answer.headers["Link"].partition(">")[0].lstrip("<")
    (earlier,) = quiet.call("GET", path).json()
    assert earlier["id"] < use["id"]
    assert use in quiet.get("/api/secrets/uses").json()
    for query, field in (
        ({"key": "NOBODY"}, "key"),
        ({"agent": UNKNOWN}, "key"),
        ({"key": "TESTED_WITH", "agent": UNKNOWN}, "agent"),
        ({"before": "x"}, "before"),
    ):
        refused = quiet.get("/api/secrets/uses", query=query)
        assert refused.status_code == 400
        assert field in refused.json()["error"]
    with second_org(quiet_server) as other:
        assert other.get("/api/secrets/uses").json() == []
        assert other.get("/api/secrets/uses", query={"key": "TESTED_WITH"}).status_code == 400
    assert quiet.delete("/api/mcps/:id", server).status_code == 200


def test_a_name_that_is_none_is_refused_in_words(api: Api) -> None:
    answer = api.post("/api/secrets", body={"key": "deploy", "value": "v"})
    assert answer.status_code == 400
    assert answer.json()["error"] == (
        "key must be capital letters, digits and underscores, as GITHUB_TOKEN, not 'deploy'"
    )
