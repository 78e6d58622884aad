"""What is written down of people: what each route does to the log, and a request that makes it do so."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx

from corral.platform.database import fetch
from tests.support.http import JSON, Api
from tests.web.conftest import Person, Running

PEOPLE = {
    "PATCH /api/me": "account.changed",
    "PUT /api/me/password": "password.changed",
    "POST /api/me/leave": "member.left",
    "POST /api/orgs": "org.created",
    "PATCH /api/orgs/<id>": "org.changed",
    "PATCH /api/people/<id>": "member.changed",
    "DELETE /api/people/<id>": "member.removed",
    "POST /api/sign-ins": "sign_in.begun",
    "PATCH /api/sign-ins/<id>": "sign_in.switched",
    "DELETE /api/sign-ins/<id>": "sign_in.ended",
    "POST /api/invitations": "invitation.created",
    "DELETE /api/invitations/<id>": "invitation.revoked",
    "POST /api/invitations/accept": "member.joined",
    "POST /api/invitations/join": "member.joined",
    "PATCH /api/v1/keys/<id>": "key.changed",
    "PATCH /api/v1/limits": "limits.changed",
    "POST /app/invitation/accept": "member.joined",
    "POST /app/invitation/join": "member.joined",
    "POST /app/orgs/new": "org.created",
    "POST /app/orgs/rename": "org.changed",
    "POST /app/orgs/switch": "sign_in.switched",
    "POST /app/people/<user_id>/remove": "member.removed",
    "POST /app/people/<user_id>/role": "member.changed",
    "POST /app/people/invitations/<invitation_id>/revoke": "invitation.revoked",
    "POST /app/people/invite": "invitation.created",
    "POST /app/people/sign-ins/<sign_in_id>/end": "sign_in.ended",
    "POST /app/profile": "account.changed",
    "POST /app/profile/identities/<no>/disconnect": "identity.disconnected",
    "POST /app/profile/leave": "member.left",
    "POST /app/profile/password": "password.changed",
    "POST /app/sign-ins/<sign_in_id>/end": "sign_in.ended",
    "POST /app/sign-ins/end-others": "sign_in.ended",
}
PASSWORD = "correct horse battery"


class Company:
    """An owner, their org, and whoever a test needs beside them."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.api: Api = running.api()
        self.owner = Person(running, "owner")

    def member(self) -> Person:
        return Person(self.running, "member")

    def with_password(self) -> tuple[Person, JSON]:
        person, who = self.member(), {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD}
        asked(person, "PATCH", "/api/me", {"email": who["email"]}).raise_for_status()
        asked(person, "PUT", "/api/me/password", {"password": PASSWORD}).raise_for_status()
        return person, who

    def second_org(self) -> tuple[int, Api]:
        """Another org of the owner's, and a caller with its key."""
        made = self.api.post("/api/orgs", body={"name": "Second", "with_key": True}).raise_for_status().json()
        return int(made["id"]), self.running.api(made["key"])

    def invitation(self, api: Api | None = None) -> JSON:
        made: JSON = (api or self.api).post("/api/invitations", body={}).raise_for_status().json()
        return {**made, "token": made["url"].partition("#")[2]}

    def key(self) -> str:
        made = self.api.post("/api/v1/keys", body={"name": "k", "scopes": ["runs:read"]})
        return str(made.raise_for_status().json()["id"])

    def with_identity(self) -> tuple[Person, int]:
        person, _ = self.with_password()
        query = "INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ('i', $1, $2, 0) RETURNING no"
        rows = self.running.do(fetch(query, uuid.uuid4().hex, id_of(person)))
        return person, rows[0]["no"]

    def in_two_orgs(self) -> tuple[Person, int]:
        """Somebody whose session looks at the second of their orgs, and the number of the first."""
        person, (_, api) = self.member(), self.second_org()
        asked(person, "POST", "/api/invitations/join", {"token": self.invitation(api)["token"]}).raise_for_status()
        person.reload()
        return person, 1

    def visitor(self) -> httpx.Client:
        """Somebody who is not signed in."""
        url = self.running.server.settings.url
        return httpx.Client(base_url=url, headers={"Origin": url}, trust_env=False, timeout=60)


def asked(person: Person, method: str, path: str, body: Any = None) -> httpx.Response:
    return person.client.request(method, path, json=body)


def id_of(person: Person) -> str:
    return str(asked(person, "GET", "/api/me").json()["id"])


def session_of(person: Person) -> str:
    listed = asked(person, "GET", "/api/sign-ins").raise_for_status().json()
    return str(next(one["id"] for one in listed if one["current"]))


def newcomer(company: Company) -> JSON:
    who = {"name": "Nova", "email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD}
    return {"token": company.invitation()["token"], **who}


def requests(of: Company) -> dict[str, Callable[[], httpx.Response]]:
    """A request for each label."""
    owner, api = of.owner, of.api

    def form_as(person: Person, path: str, **fields: Any) -> httpx.Response:
        return person.post(path, **fields)

    def switched() -> httpx.Response:
        person, first = of.in_two_orgs()
        return asked(person, "PATCH", f"/api/sign-ins/{session_of(person)}", {"org_id": first})

    def switched_by_form() -> httpx.Response:
        person, first = of.in_two_orgs()
        return person.post("/app/orgs/switch", org=first)

    def signed_in() -> httpx.Response:
        _, who = of.with_password()
        return of.visitor().post("/api/sign-ins", json=who)

    def joined() -> httpx.Response:
        token = of.invitation(of.second_org()[1])["token"]
        return asked(of.member(), "POST", "/api/invitations/join", {"token": token})

    def disconnected() -> httpx.Response:
        person, no = of.with_identity()
        return person.post(f"/app/profile/identities/{no}/disconnect")

    def ended_others() -> httpx.Response:
        person, who = of.with_password()
        of.visitor().post("/api/sign-ins", json=who).raise_for_status()
        return person.post("/app/sign-ins/end-others")

    def ended_own() -> httpx.Response:
        person = of.member()
        return person.post(f"/app/sign-ins/{session_of(person)}/end")

    def ended() -> httpx.Response:
        return asked(owner, "DELETE", f"/api/sign-ins/{session_of(of.member())}")

    return {
        "PATCH /api/me": lambda: asked(of.member(), "PATCH", "/api/me", {"name": "Other"}),
        "PUT /api/me/password": lambda: asked(of.member(), "PUT", "/api/me/password", {"password": PASSWORD}),
        "POST /api/me/leave": lambda: asked(of.member(), "POST", "/api/me/leave", {}),
        "POST /api/orgs": lambda: api.post("/api/orgs", body={"name": "New"}),
        "PATCH /api/orgs/<id>": lambda: asked(owner, "PATCH", "/api/orgs/1", {"name": f"Corral {uuid.uuid4()}"}),
        "PATCH /api/people/<id>": lambda: api.patch("/api/people/:id", id_of(of.member()), body={"role": "viewer"}),
        "DELETE /api/people/<id>": lambda: api.delete("/api/people/:id", id_of(of.member())),
        "POST /api/sign-ins": signed_in,
        "PATCH /api/sign-ins/<id>": switched,
        "DELETE /api/sign-ins/<id>": ended,
        "POST /api/invitations": lambda: api.post("/api/invitations", body={}),
        "DELETE /api/invitations/<id>": lambda: api.delete("/api/invitations/:id", of.invitation()["id"]),
        "POST /api/invitations/accept": lambda: of.visitor().post("/api/invitations/accept", json=newcomer(of)),
        "POST /api/invitations/join": joined,
        "PATCH /api/v1/keys/<id>": lambda: api.patch("/api/v1/keys/:id", of.key(), body={"name": "renamed"}),
        "PATCH /api/v1/limits": lambda: api.patch("/api/v1/limits", body={"rate_limit": 100_000}),
        "POST /app/invitation/accept": lambda: of.visitor().post("/app/invitation/accept", data=newcomer(of)),
        "POST /app/invitation/join": lambda: form_as(
            of.member(), "/app/invitation/join", token=of.invitation(of.second_org()[1])["token"]
        ),
        "POST /app/orgs/new": lambda: Person(of.running, "owner").post("/app/orgs/new", name="Third"),
        "POST /app/orgs/rename": lambda: owner.post("/app/orgs/rename", name=f"Corral {uuid.uuid4()}"),
        "POST /app/orgs/switch": switched_by_form,
        "POST /app/people/<user_id>/remove": lambda: owner.post(f"/app/people/{id_of(of.member())}/remove"),
        "POST /app/people/<user_id>/role": lambda: owner.post(f"/app/people/{id_of(of.member())}/role", role="viewer"),
        "POST /app/people/invitations/<invitation_id>/revoke": lambda: owner.post(
            f"/app/people/invitations/{of.invitation()['id']}/revoke"
        ),
        "POST /app/people/invite": lambda: owner.post("/app/people/invite", role="member", days="7"),
        "POST /app/people/sign-ins/<sign_in_id>/end": lambda: owner.post(
            f"/app/people/sign-ins/{session_of(of.member())}/end"
        ),
        "POST /app/profile": lambda: of.member().post("/app/profile", name="Changed"),
        "POST /app/profile/identities/<no>/disconnect": disconnected,
        "POST /app/profile/leave": lambda: of.member().post("/app/profile/leave"),
        "POST /app/profile/password": lambda: of.member().post(
            "/app/profile/password", password=PASSWORD, again=PASSWORD
        ),
        "POST /app/sign-ins/<sign_in_id>/end": ended_own,
        "POST /app/sign-ins/end-others": ended_others,
    }
