"""`corral people`, `invitations`, `orgs` and `sign-in --for`."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import httpx

from tests.cli.conftest import Command
from tests.support.people import PASSWORD, Browser, newcomer, session_of
from tests.support.server import Server


def redeemed(url: str) -> Browser:
    """The browser that a sign-in link was opened in."""
    where, _, token = url.strip().partition("#")
    origin = where.removesuffix("/app/sign-in")
    answer = httpx.post(where, data={"token": token}, headers={"Origin": origin}, trust_env=False, timeout=30)
    assert answer.status_code == 303, answer.text
    return Browser(origin, answer.cookies["corral_session"])


def test_somebody_is_invited_given_another_role_and_removed(corral: Command, hand_server: Server) -> None:
    email = f"{uuid.uuid4().hex[:10]}@example.com"
    made = corral("people", "invite", email, "--role", "admin", server=hand_server)
    assert re.fullmatch(rf"{hand_server.url}/app/invitation#\S+\n", made.out), made.err
    (open_,) = [one for one in corral("invitations", "--json", server=hand_server).json() if one["email"] == email]
    assert (open_["role"], open_["status"]) == ("admin", "open")
    assert f"{email}  admin" in re.sub(r" {2,}", "  ", corral("invitations", server=hand_server).out)
    token = made.out.strip().partition("#")[2]
    body = {"token": token, "email": email, "password": PASSWORD, "name": "Grace"}
    with hand_server.api(None) as nobody:
        grace = Browser(hand_server.url, session_of(nobody.post("/api/invitations/accept", body=body)))
    listed = corral("people", server=hand_server).out
    assert re.search(rf"Grace +{email} +admin", listed), listed
    changed = corral("people", "role", email.upper(), "viewer", server=hand_server)
    assert changed.out == "Grace is viewer now.\n", changed.err
    refused = corral("people", "role", email, "king", server=hand_server)
    assert (refused.code, "king" in refused.err) == (2, True)
    assert corral("people", "remove", grace.id, "--json", server=hand_server).json() == {"ok": True}
    gone = corral("people", "remove", email, server=hand_server)
    assert gone.code == 1
    assert f"There is no person {email}" in gone.err
    assert "corral people" in gone.err


def test_an_invitation_is_revoked_by_the_end_of_its_id(corral: Command, hand_server: Server) -> None:
    made = corral("people", "invite", "--days", "1", "--json", server=hand_server).json()
    assert corral("invitations", "revoke", made["id"][-12:], server=hand_server).out == "Revoked.\n"
    states = {one["id"]: one["status"] for one in corral("invitations", "--json", server=hand_server).json()}
    assert states[made["id"]] == "revoked"


def test_an_org_is_made_with_a_key_of_its_own_and_renamed(corral: Command, hand_server: Server) -> None:
    boss = newcomer(hand_server.api(), "owner").by_key()
    here = {"CORRAL_URL": hand_server.url, "CORRAL_API_KEY": str(boss.key)}
    made = corral("orgs", "create", "Second org", "--key", **here)
    assert made.code == 0, made.err
    there = {**here, "CORRAL_API_KEY": made.out.strip()}
    (org,) = corral("orgs", "--json", **there).json()
    assert (org["name"], org["role"], org["current"]) == ("Second org", "owner", True)
    assert corral("orgs", "rename", "Third org", **there).out == "It is called Third org now.\n"
    assert re.search(rf"{org['id']} +Third org +owner", corral("orgs", **there).out)
    for keys in (here, there):  # of one org each: neither leads into the other one
        refused = corral("sign-in", **keys)
        assert (refused.code, "corral sign-in --for EMAIL" in refused.err) == (1, True)
    assert len(corral("people", "--json", **there).json()) == 1


def test_the_operator_makes_a_link_for_anybody_whether_a_server_runs_or_not(
    corral: Command, hand_server: Server
) -> None:
    ada = newcomer(hand_server.api(), "viewer")
    made = corral("sign-in", "--for", ada.email.upper(), server=hand_server)
    assert made.out.startswith(f"{hand_server.url}/app/sign-in#"), made.err
    again = redeemed(made.out)
    assert again.id == ada.id
    changed = again.put("/api/me/password", body={"password": "remembered again"})  # without the one before
    assert changed.status_code == 200, changed.text
    (line,) = corral("audit", "--action", "sign_in_link.created", "--limit", "1", "--json", server=hand_server).json()
    assert (line["actor"], line["target_id"]) == ("operator", again.id)
    nobody = corral("sign-in", "--for", "nobody@example.com", server=hand_server)
    assert (nobody.code, "no account with the email" in nobody.err) == (1, True)


def test_without_a_database_there_is_nobody_to_make_a_link_for(corral: Command) -> None:
    refused = corral("sign-in", "--for", "ada@example.com", CORRAL_DATA="/nonexistent/corral")
    assert refused.code == 3
    assert "no database" in refused.err


def test_the_first_owner_gets_an_email_by_the_link_of_the_first_start(corral: Command, tmp_path: Path) -> None:
    server = Server(tmp_path / "server").start()
    try:
        owner = redeemed(corral("sign-in", server=server).out)
        email = f"{uuid.uuid4().hex[:10]}@example.com"
        assert owner.patch("/api/me", body={"email": email}).status_code == 200
        assert owner.put("/api/me/password", body={"password": PASSWORD}).status_code == 200
        signed_in = server.api(None).post("/api/sign-ins", body={"email": email, "password": PASSWORD})
        assert Browser(server.url, session_of(signed_in)).get("/api/me").json()["role"] == "owner"
    finally:
        server.stop()
