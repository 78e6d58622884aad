"""An OpenID provider as a process of its own, which lies on request.

Like a real one it knows its client and the one address it may send browsers back to, asks people who they are on a page
of its own, gives each code out once and only to who can prove that they began (PKCE), and signs with RSA or EC keys.
`POST /behave` tells it what to do wrong, `POST /rotate` gives it new keys, `GET /seen` lists what it was asked.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT_ID = "corral"
CLIENT_SECRET = "a-secret-that-only-corral-and-the-provider-know"


class Provider:
    """What it knows. `behave` holds what it does wrong: see `Handler`."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.people: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.seen: list[str] = []
        self.behave: dict[str, Any] = {}
        self.rotate()

    def rotate(self) -> None:
        kid = secrets.token_hex(4)
        self.keys: dict[str, RSAKey | ECKey] = {
            "RS256": RSAKey.generate_key(2048, {"kid": f"{kid}-rsa", "use": "sig"}),
            "ES256": ECKey.generate_key("P-256", {"kid": f"{kid}-ec", "use": "sig"}),
        }

    def person(self, email: str) -> dict[str, Any]:
        known = {"sub": f"sub-{email}", "name": email.partition("@")[0].title(), "email": email, "email_verified": True}
        return {**known, **self.people.get(email, {})}

    def id_token(self, granted: dict[str, Any], access: str) -> str:
        now = int(time.time())
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": granted["nonce"],
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **self.person(granted["email"]),
            **self.behave.get("claims", {}),
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        algorithm = self.behave.get("alg", "RS256")
        if algorithm == "none":
            return ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "none"}, claims)) + "."
        if algorithm == "HS256":  # signed with the client's secret, which others may have as well
            from joserfc.jwk import OctKey

            return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET), algorithms=["HS256"])
        key = self.keys[algorithm]
        if self.behave.get("stranger"):  # a key that is not listed, under the kid of one that is
            key = RSAKey.generate_key(2048, {"kid": str(key.kid)})
        return jwt.encode({"alg": algorithm, "kid": key.kid}, claims, key, algorithms=[algorithm])


class Handler(BaseHTTPRequestHandler):
    """Its pages and endpoints."""

    provider: Provider

    def do_GET(self) -> None:
        address, query = urlsplit(self.path), self._pairs(urlsplit(self.path).query)
        self.provider.seen.append(address.path)
        if self._misbehaves(address.path):
            return
        match address.path:
            case "/.well-known/openid-configuration":
                self._json({**self._configuration(), **self.provider.behave.get("configuration", {})})
            case "/jwks":
                self._json(KeySet(list(self.provider.keys.values())).as_dict(private=False))
            case "/authorize":
                self._ask(query)
            case "/userinfo":
                email = self.provider.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
                self._json({**self.provider.person(email), **self.provider.behave.get("userinfo", {})} if email else {})
            case "/seen":
                self._json(self.provider.seen)
            case _:
                self._answer(404, b"", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = urlsplit(self.path).path
        self.provider.seen.append(path)
        if self._misbehaves(path):
            return
        match path:
            case "/authorize":
                self._let_in(self._pairs(body))
            case "/token":
                self._redeem(self._pairs(body))
            case "/behave":
                self.provider.behave = json.loads(body)
                self._json({})
            case "/people":
                self.provider.people.update(json.loads(body))
                self._json({})
            case "/rotate":
                self.provider.rotate()
                self._json({})

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: its addresses hold codes."""

    def _configuration(self) -> dict[str, Any]:
        issuer = self.provider.issuer
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/jwks",
            "userinfo_endpoint": f"{issuer}/userinfo",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def _ask(self, query: dict[str, str]) -> None:
        """Show a page that asks who is there."""
        if query.get("client_id") != CLIENT_ID or "/app/sign-in/" not in query.get("redirect_uri", ""):
            self._answer(400, b"unknown client", "text/plain")
            return
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        kept = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(query[name])}">'
            for name in ("redirect_uri", "state", "nonce", "code_challenge")
        )
        page = (
            '<!doctype html><html lang="en"><title>Provider</title><h1>The provider</h1>'
            f'<form method="post" action="/authorize">{kept}<label>Email <input name="email"></label>'
            '<button name="act" value="allow">Sign in</button><button name="act" value="deny">Cancel</button></form>'
        )
        self._answer(200, page.encode(), "text/html; charset=utf-8")

    def _let_in(self, form: dict[str, str]) -> None:
        back = {"state": form["state"], "iss": self.provider.issuer, **self.provider.behave.get("back", {})}
        if form.get("act") == "deny":
            back |= {"error": "access_denied", "error_description": "<b>call 555-0100</b>"}
        else:
            code = secrets.token_urlsafe(16)
            self.provider.codes[code] = form
            back["code"] = code
        self.send_response(303)
        self.send_header("Location", f"{form['redirect_uri']}?{urlencode(back)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _redeem(self, form: dict[str, str]) -> None:
        basic = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        granted = self.provider.codes.pop(form.get("code", ""), None)
        proof = _part(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if [unquote(part) for part in basic.split(":")] != [CLIENT_ID, CLIENT_SECRET]:
            self._json({"error": "invalid_client"}, 401)
        elif (
            granted is None
            or granted["code_challenge"] != proof
            or granted["redirect_uri"] != form["redirect_uri"]
            or form["grant_type"] != "authorization_code"
        ):
            self._json({"error": "invalid_grant"}, 400)
        else:
            access = secrets.token_urlsafe(16)
            self.provider.tokens[access] = granted["email"]
            token = self.provider.id_token(granted, access)
            right = {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": token}
            self._json(self.provider.behave.get("granted", right))

    def _misbehaves(self, path: str) -> bool:
        if path == self.provider.behave.get("hangs_at"):
            threading.Event().wait(600)
        if path == self.provider.behave.get("fails_at"):
            self._answer(503, b"", "text/plain")
            return True
        if path == self.provider.behave.get("floods_at"):
            self._answer(200, b'{"x": "' + b"x" * 10_000_000 + b'"}', "application/json")
            return True
        return False

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def _pairs(text: str) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(text).items()}


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.provider = Provider(server.server_address[1])
    sys.stdout.write(f"listening on {Handler.provider.issuer}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
