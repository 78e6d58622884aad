"""People who come into an org as people do: by an invitation's link, with a password, in a browser."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import httpx

from tests.support.http import JSON, Api

PASSWORD = "correct horse battery"


class Browser(Api):
    """A caller with a console session in place of a key."""

    def __init__(self, url: str, session: str, email: str = "") -> None:
        super().__init__(url, None)
        self.session = session
        self.email = email

    def _auth(self) -> dict[str, str]:
        return {"Cookie": f"corral_session={self.session}", "Origin": self.url}

    @property
    def id(self) -> str:
        """Who that is."""
        return str(self.get("/api/me").raise_for_status().json()["id"])

    def by_key(self, *scopes: str) -> Api:
        """A caller with a key of this person."""
        made = self.post("/api/v1/keys", body={"name": "theirs", "scopes": scopes or ["*"]}).raise_for_status()
        return self.as_key(made.json()["key"])


def invited(api: Api, role: str = "member", **more: object) -> str:
    """The token of a new invitation."""
    made: JSON = api.post("/api/invitations", body={"role": role, **more}).raise_for_status().json()
    return urlsplit(made["url"]).fragment


def newcomer(api: Api, role: str = "member") -> Browser:
    """Somebody new in the org of this caller, signed in."""
    email = f"p{uuid.uuid4().hex[:12]}@example.com"
    body = {"token": invited(api, role), "email": email, "password": PASSWORD, "name": f"New {role}"}
    return Browser(api.url, session_of(api.as_key(None).post("/api/invitations/accept", body=body)), email)


def signed_in(api: Api, email: str, password: str = PASSWORD, **headers: str) -> Browser:
    """Who signs in with this email and password."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = api.as_key(None).post("/api/sign-ins", body={"email": email, "password": password}, headers=sent)
    return Browser(api.url, session_of(answer), email)


def session_of(answer: httpx.Response) -> str:
    """The session that an answer's cookie holds."""
    assert answer.status_code == 201, answer.text
    return str(answer.cookies["corral_session"])
