"""People: invited, signed in with a password, given roles, removed. Each in a browser's session or with a key."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.conftest import everywhere
from tests.support.http import JSON, Api
from tests.support.people import PASSWORD, Browser, invited, newcomer, session_of, signed_in
from tests.support.waiting import eventually

RUN = {"prompt": "p", "cwd": "/srv"}
NOBODY = "0190f0f0-0000-7000-8000-000000000000"


@pytest.fixture
def second(quiet: Api) -> Iterator[Api]:
    """A caller with the full key of another org, made as people make one."""
    made = quiet.post("/api/orgs", body={"name": f"Second {uuid.uuid4().hex[:6]}", "with_key": True})
    assert made.status_code == 201, made.text
    with quiet.as_key(made.json()["key"]) as caller:
        yield caller


def people(api: Api) -> dict[str, JSON]:
    return {one["id"]: one for one in api.get("/api/people").raise_for_status().json()}


def test_who_is_invited_comes_in_with_a_password_and_signs_in_with_it(quiet: Api) -> None:
    made = quiet.post("/api/invitations", body={"role": "admin", "email": f"Ada.{uuid.uuid4().hex}@Example.com"}).json()
    assert made["url"].startswith(f"{quiet.url}/app/invitation#")
    assert (made["status"], made["role"]) == ("open", "admin")
    listed = next(one for one in quiet.get("/api/invitations").json() if one["id"] == made["id"])
    assert "url" not in listed
    token = made["url"].partition("#")[2]
    nobody = quiet.as_key(None)
    body = {"token": token, "email": made["email"], "password": PASSWORD, "name": "Ada"}
    answer = nobody.post("/api/invitations/accept", body=body)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie  # this server has no TLS
    ada = Browser(quiet.url, session_of(answer))
    me = ada.get("/api/me").json()
    assert (me["name"], me["email"], me["role"], me["has_password"]) == ("Ada", made["email"], "admin", True)
    again = signed_in(quiet, made["email"].upper())
    assert again.get("/api/me").json()["id"] == me["id"]
    assert nobody.post("/api/invitations/accept", body=body).status_code == 404
    shown = quiet.get("/api/people/:id", me["id"]).json()
    assert (shown["role"], shown["email"]) == ("admin", made["email"])


def test_wrong_passwords_are_refused_alike_and_pages_of_others_sign_nobody_in(quiet: Api) -> None:
    ada = newcomer(quiet)
    nobody = quiet.as_key(None)
    wrong = nobody.post("/api/sign-ins", body={"email": ada.email, "password": "wrong"})
    unknown = nobody.post("/api/sign-ins", body={"email": "nobody@example.com", "password": PASSWORD})
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.json() == unknown.json()
    right = {"email": ada.email, "password": PASSWORD}
    elsewhere = {"Origin": "https://elsewhere.example"}
    assert nobody.post("/api/sign-ins", body=right, headers=elsewhere).status_code == 403
    assert nobody.post("/api/sign-ins", body=right, headers={"Origin": quiet.url}).status_code == 201


def test_a_bad_invitation_or_password_is_refused_by_field(quiet: Api) -> None:
    for body, field in (
        ({"role": "king"}, "role"),
        ({"email": "nonsense"}, "email"),
        ({"days": 400}, "days"),
        ({"rôle": "member"}, "rôle"),
    ):
        answer = quiet.post("/api/invitations", body=body)
        assert answer.status_code == 400, answer.text
        assert field in answer.json()["error"]
    accept = {"token": invited(quiet), "email": "new@example.com", "password": "short", "name": "New"}
    answer = quiet.as_key(None).post("/api/invitations/accept", body=accept)
    assert answer.status_code == 400
    assert "password must have at least 10 characters" in answer.json()["error"]


def test_somebody_signed_in_joins_another_org_and_switches_between_them(quiet: Api, second: Api) -> None:
    ada = newcomer(quiet, "viewer")
    token = invited(second, "admin", email=ada.email)
    assert newcomer(quiet).post("/api/invitations/join", body={"token": token}).status_code == 403
    assert quiet.post("/api/invitations/join", body={"token": token}).status_code == 403  # a key is of one org
    assert ada.post("/api/invitations/join", body={"token": token}).status_code == 200
    there = second.get("/api/me").json()["org"]
    everywhere(lambda: (me := ada.get("/api/me").json()) and (me["org"], me["role"]) == (there, "admin"))
    orgs = {one["id"]: one for one in ada.get("/api/orgs").json()}
    assert {one["role"] for one in orgs.values()} == {"viewer", "admin"}
    home = next(one["id"] for one in orgs.values() if not one["current"])
    (current,) = [one["id"] for one in ada.get("/api/sign-ins").json() if one["current"]]
    assert ada.patch("/api/sign-ins/:id", current, body={"org_id": home}).status_code == 200
    everywhere(lambda: (me := ada.get("/api/me").json()) and (me["org"]["id"], me["role"]) == (home, "viewer"))
    assert ada.patch("/api/sign-ins/:id", current, body={"org_id": 10**9}).status_code == 404
    assert quiet.patch("/api/sign-ins/:id", current, body={"org_id": home}).status_code == 404
    assert [one["id"] for one in quiet.get("/api/orgs").json()] == [quiet.get("/api/me").json()["org"]["id"]]


def test_a_key_of_one_org_does_not_lead_into_the_others_of_whose_it_is(quiet: Api) -> None:
    boss = newcomer(quiet, "owner")
    here = boss.by_key()
    assert here.patch("/api/me", body={"name": "Boss"}).status_code == 200
    assert here.post("/api/v1/sign-in-links").status_code == 201
    made = boss.post("/api/orgs", body={"name": "Boss's", "with_key": True}).raise_for_status().json()
    for key in (here, quiet.as_key(made["key"])):
        for refused in (
            key.post("/api/v1/sign-in-links"),
            key.put("/api/me/password", body={"password": "one of a thief", "current": PASSWORD}),
            key.patch("/api/me", body={"email": f"{uuid.uuid4().hex}@example.com"}),
        ):
            assert refused.status_code == 403, refused.text
            assert "A key is of one org" in refused.text
    assert boss.post("/api/v1/sign-in-links").status_code == 201
    assert boss.patch("/api/me", body={"name": "Boss of both"}).status_code == 200


def test_orgs_are_made_in_the_first_one_and_renamed_by_their_owners(quiet: Api, second: Api) -> None:
    own = second.get("/api/me").json()["org"]["id"]
    renamed = second.patch("/api/orgs/:id", own, body={"name": "  Our\torg "})
    assert renamed.json() == {"id": own, "name": "Our org"}
    assert quiet.patch("/api/orgs/:id", own, body={"name": "Mine"}).status_code == 404
    refused = second.post("/api/orgs", body={"name": "Third"})
    assert refused.status_code == 403
    assert "first org" in refused.json()["error"]
    assert newcomer(quiet, "admin").post("/api/orgs", body={"name": "Third"}).status_code == 403


def test_a_new_role_and_a_removal_hold_for_sessions_and_keys(quiet: Api) -> None:
    ada = newcomer(quiet, "admin")
    key, ada_id = ada.by_key(), ada.id
    assert key.get("/api/people").status_code == 200
    changed = quiet.patch("/api/people/:id", ada_id, body={"role": "viewer"})
    assert changed.json()["role"] == "viewer"
    for api in (ada, key):
        everywhere(lambda api=api: api.get("/api/me").json()["role"] == "viewer")  # type: ignore[misc]
        assert api.post("/api/v1/runs", body=RUN).status_code == 403
        assert api.patch("/api/people/:id", ada_id, body={"role": "owner"}).status_code == 403
    assert quiet.delete("/api/people/:id", ada_id).json() == {"ok": True}
    eventually(lambda: ada.get("/api/me").status_code == 401, within=5)
    eventually(lambda: key.get("/api/me").status_code == 401, within=5)
    assert ada_id not in people(quiet)
    for gone in (
        quiet.get("/api/people/:id", ada_id),
        quiet.delete("/api/people/:id", ada_id),
        quiet.patch("/api/people/:id", ada_id, body={"role": "member"}),
    ):
        assert gone.status_code == 404


def test_nobody_gives_a_role_above_their_own_and_the_last_owner_stays(quiet: Api, second: Api) -> None:
    admin = newcomer(second, "admin")
    owner = next(one["id"] for one in people(second).values() if one["role"] == "owner")
    for refused in (
        admin.patch("/api/people/:id", admin.id, body={"role": "owner"}),
        admin.patch("/api/people/:id", owner, body={"role": "viewer"}),
        admin.delete("/api/people/:id", owner),
        admin.post("/api/invitations", body={"role": "owner"}),
        admin.by_key("people:write").post("/api/invitations", body={"role": "admin"}),
    ):
        assert refused.status_code == 403, refused.text
    for refused in (
        second.delete("/api/people/:id", owner),
        second.patch("/api/people/:id", owner, body={"role": "admin"}),
        second.post("/api/me/leave"),
    ):
        assert refused.status_code == 409, refused.text
        assert "last owner" in refused.json()["error"]
    assert admin.post("/api/me/leave").status_code == 200
    eventually(lambda: admin.get("/api/me").status_code == 401, within=5)


def test_people_change_what_they_are_called_and_sign_in_with(quiet: Api) -> None:
    ada, eve = newcomer(quiet, "viewer"), newcomer(quiet)
    email = f"{uuid.uuid4().hex}@example.com"
    changed = ada.patch("/api/me", body={"name": " Ada  Lovelace ", "email": email.upper()}).json()
    assert (changed["name"], changed["email"]) == ("Ada Lovelace", email)
    assert signed_in(quiet, email).get("/api/me").json()["name"] == "Ada Lovelace"
    taken = eve.patch("/api/me", body={"email": email})
    assert taken.status_code == 409
    assert ada.patch("/api/me", body={"role": "owner"}).json()["role"] == "viewer"  # ignored, as what answers have
    assert newcomer(quiet, "owner").by_key("people:write").patch("/api/me", body={"name": "Eve"}).status_code == 403


def test_a_new_password_ends_the_other_sign_ins(quiet: Api) -> None:
    ada = newcomer(quiet)
    other = signed_in(quiet, ada.email)
    assert other.get("/api/me").status_code == 200
    body = {"password": "an even better one"}
    assert ada.put("/api/me/password", body=body).status_code == 400
    assert ada.put("/api/me/password", body={**body, "current": "wrong"}).status_code == 403
    assert other.get("/api/me").status_code == 200
    assert ada.put("/api/me/password", body={**body, "current": PASSWORD}).status_code == 200
    eventually(lambda: other.get("/api/me").status_code == 401, within=5)
    assert ada.get("/api/me").status_code == 200
    assert signed_in(quiet, ada.email, "an even better one").id == ada.id
    full = newcomer(quiet, "owner")
    assert full.by_key("runs:read").put("/api/me/password", body={**body, "current": PASSWORD}).status_code == 403


def test_sign_ins_are_listed_with_where_they_are_and_ended(quiet: Api) -> None:
    ada = newcomer(quiet)
    phone = signed_in(quiet, ada.email, User_Agent="A phone")
    mine = ada.get("/api/sign-ins").json()
    assert [(one["agent"], one["current"], one["means"]) for one in mine][:1] == [("A phone", False, "password")]
    assert {one["address"] for one in mine} == {"127.0.0.1"}
    assert mine[0]["last_used_at"]
    first = ada.get("/api/sign-ins", query={"limit": 1})
    assert first.links["next"]["url"].endswith(f"limit=1&before={mine[0]['id']}")
    assert ada.delete("/api/sign-ins/:id", mine[0]["id"]).json() == {"ok": True}
    eventually(lambda: phone.get("/api/me").status_code == 401, within=5)
    assert ada.delete("/api/sign-ins/:id", mine[0]["id"]).status_code == 403  # of nobody's, an admin may ask
    assert quiet.delete("/api/sign-ins/:id", mine[0]["id"]).status_code == 404


def test_an_admin_sees_and_ends_the_sign_ins_of_the_orgs_people(quiet: Api) -> None:
    ada, admin = newcomer(quiet), newcomer(quiet, "admin")
    assert ada.get("/api/sign-ins", query={"everyone": "true"}).status_code == 403
    assert ada.get("/api/sign-ins", query={"person": admin.id}).status_code == 403
    assert {ada.id, admin.id} <= {one["person"] for one in admin.get("/api/sign-ins?everyone=true").json()}
    (hers,) = admin.get("/api/sign-ins", query={"person": ada.id}).json()
    assert admin.delete("/api/sign-ins/:id", hers["id"]).status_code == 200
    eventually(lambda: ada.get("/api/me").status_code == 401, within=5)


def test_two_orgs_see_nothing_of_each_others_people(quiet: Api, second: Api) -> None:
    ada = newcomer(quiet)
    invitation = quiet.post("/api/invitations", body={}).json()["id"]
    (sign_in,) = [one["id"] for one in ada.get("/api/sign-ins").json()]
    ada_id = ada.id
    answers = [
        second.get("/api/people/:id", ada_id),
        second.patch("/api/people/:id", ada_id, body={"role": "viewer"}),
        second.delete("/api/people/:id", ada_id),
        second.delete("/api/invitations/:id", invitation),
        second.delete("/api/sign-ins/:id", sign_in),
        second.get("/api/people/:id", NOBODY),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert ada_id not in people(second)
    assert len(people(second)) == 1
    assert second.get("/api/invitations").json() == []
    assert second.get("/api/sign-ins", query={"everyone": "true"}).json() == []
    assert second.get("/api/sign-ins", query={"person": ada_id}).json() == []
    assert second.get("/api/people", query={"before": ada_id}).status_code == 400
    assert ada.get("/api/me").status_code == 200


def test_an_invitation_is_revoked_and_its_link_is_no_way_in(quiet: Api) -> None:
    made = quiet.post("/api/invitations", body={"role": "viewer"}).json()
    assert quiet.delete("/api/invitations/:id", made["id"]).json()["status"] == "revoked"
    body = {"token": made["url"].partition("#")[2], "email": "late@example.com", "password": PASSWORD, "name": "Late"}
    assert quiet.as_key(None).post("/api/invitations/accept", body=body).status_code == 404
    assert newcomer(quiet).post("/api/invitations", body={}).status_code == 403


def test_a_repeated_invitation_is_not_made_twice(quiet: Api) -> None:
    repeat = {"Idempotency-Key": uuid.uuid4().hex}
    before = len(quiet.get("/api/invitations").json())
    assert quiet.post("/api/invitations", body={}, headers=repeat).status_code == 201
    assert quiet.post("/api/invitations", body={}, headers=repeat).status_code == 409  # its link is shown once
    assert len(quiet.get("/api/invitations").json()) == before + 1
