"""A browser's cookie: whose it is, and where it must come from to write."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator

import httpx
import pytest

from corral.platform import sign_in
from corral.platform.database import fetch
from corral.web import csrf
from corral.web.cookies import COOKIE
from tests.web.audited_people import Company, session_of
from tests.web.conftest import Running

LAUNCH = {"prompt": "p", "cwd": "/srv"}


@pytest.fixture
def browser(running: Running) -> Iterator[httpx.Client]:
    async def signed_in() -> str:
        first = running.server.bootstrapped
        return await sign_in.redeem((await sign_in.make_link(first.org_id, first.owner_id)).token)

    cookies = {COOKIE: running.do(signed_in())}
    with httpx.Client(base_url=running.server.settings.url, cookies=cookies, trust_env=False, timeout=60) as client:
        yield client


def test_a_session_reads_without_an_origin(browser: httpx.Client) -> None:
    assert browser.get("/api/v1/runs").status_code == 200
    assert browser.get("/api/approvals").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Referer": "https://elsewhere.example/app/"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Referer": "http://[/app/"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_session_does_not_write_for_another_site(browser: httpx.Client, headers: dict[str, str]) -> None:
    answer = browser.post("/api/v1/runs", json=LAUNCH, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "FORBIDDEN"


def test_a_session_writes_for_our_own_pages(browser: httpx.Client) -> None:
    ours = str(browser.base_url).rstrip("/")
    for headers in ({"Origin": ours}, {"Referer": f"{ours}/app/runs"}, {"Sec-Fetch-Site": "same-origin"}):
        assert browser.post("/api/v1/runs", json=LAUNCH, headers=headers).status_code == 201


def test_a_bearer_key_needs_no_origin_and_a_wrong_one_is_not_saved_by_the_cookie(
    running: Running, browser: httpx.Client
) -> None:
    key = {"Authorization": f"Bearer {running.server.bootstrapped.new_key}"}
    assert browser.post("/api/v1/runs", json=LAUNCH, headers=key).status_code == 201
    assert browser.get("/api/v1/runs", headers={"Authorization": "Bearer nobody"}).status_code == 401


def test_what_a_proxy_asks_browsers_for_does_not_hide_the_session(browser: httpx.Client) -> None:
    assert browser.get("/api/v1/runs", headers={"Authorization": "Basic dXNlcjpwYXNz"}).status_code == 200


def test_over_tls_the_session_goes_by_a_name_that_no_neighbour_can_give(
    running: Running, browser: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxies = (ipaddress.ip_network("127.0.0.0/8"),)
    monkeypatch.setattr(running.server, "settings", dataclasses.replace(running.server.settings, proxies=proxies))
    tls = {"X-Forwarded-Proto": "https", "Origin": str(browser.base_url).rstrip("/")}
    first = running.server.bootstrapped
    link = running.do(sign_in.make_link(first.org_id, first.owner_id))
    browser.cookies.clear()
    (given,) = browser.post("/app/sign-in", data={"token": link.token}, headers=tls).headers.get_list("set-cookie")
    name, _, session = given.partition(";")[0].partition("=")
    assert name == f"__Host-{COOKIE}"
    assert "; Path=/;" in given
    assert given.endswith("; Secure")
    assert "Domain" not in given

    def reads(name: str, **headers: str) -> bool:
        return browser.get("/api/v1/runs", headers={**headers, "Cookie": f"{name}={session}"}).status_code == 200

    assert reads(name, **tls)
    for neighbours in (COOKIE, f"__Secure-{COOKIE}", f"__Secure-{name}"):
        assert not reads(neighbours, **tls)
    assert reads(COOKIE)
    assert not reads(name)
    shown = {**tls, "Cookie": f"{name}={session}"}
    form = {"csrf": csrf.token(running.do(sign_in.authenticate(session)))}
    assert (
        f"{name}=; Path=/; Max-Age=0" in browser.post("/app/sign-out", data=form, headers=shown).headers["set-cookie"]
    )
    assert not reads(name, **tls)


def test_a_form_needs_the_token_of_its_session(browser: httpx.Client, running: Running) -> None:
    principal = running.do(sign_in.authenticate(browser.cookies[COOKIE]))
    ours = {"Origin": str(browser.base_url).rstrip("/")}
    for wrong in ({}, {"csrf": ""}, {"csrf": "x" * 64}, {"csrf": csrf.token(principal)[:-1]}):
        assert browser.post("/app/sign-out", data=wrong, headers=ours).status_code == 403
    odd = browser.post("/app/sign-out", headers={b"Origin": ours["Origin"].encode(), b"X-CSRF-Token": b"\xff" * 64})
    assert odd.status_code == 403
    right = browser.post("/app/sign-out", data={"csrf": csrf.token(principal)}, headers=ours)
    assert right.status_code == 303
    assert browser.get("/api/v1/runs").status_code == 401


def test_a_form_of_one_org_does_nothing_in_another(running: Running) -> None:
    person, first = Company(running).in_two_orgs()
    assert person.client.patch(f"/api/sign-ins/{session_of(person)}", json={"org_id": first}).status_code == 200
    refused = person.post("/app/epics", title="Meant for the second org")
    assert refused.status_code == 403
    assert "reload the page" in refused.text
    person.reload()
    assert person.post("/app/epics", title="Meant for the first org").status_code == 303
    assert "Meant for the second org" not in person.get("/app/epics")


def test_a_viewer_reads_and_does_nothing_else(running: Running, browser: httpx.Client) -> None:
    ours = {"Origin": str(browser.base_url).rstrip("/")}
    owner = running.server.bootstrapped.owner_id
    running.do(fetch("UPDATE members SET role = 'viewer' WHERE user_id = $1", owner))
    sign_in.forget()
    try:
        assert browser.get("/api/v1/runs").status_code == 200
        refused = browser.post("/api/v1/runs", json=LAUNCH, headers=ours)
        assert refused.status_code == 403
        assert "viewer" in refused.json()["error"]["message"]
    finally:
        running.do(fetch("UPDATE members SET role = 'owner' WHERE user_id = $1", owner))
        sign_in.forget()


def test_the_console_is_not_counted(running: Running, browser: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.server, "settings", dataclasses.replace(running.server.settings, rate_limit=2))
    for _ in range(5):
        answer = browser.get("/api/v1/runs")
        assert answer.status_code == 200
        assert "RateLimit-Limit" not in answer.headers


def test_who_came_by_a_link_alone_is_told_how_to_come_back(browser: httpx.Client) -> None:
    page = browser.get("/app/people").text
    assert "Set an email and a password" in page
    session = {"Origin": str(browser.base_url).rstrip("/")}
    assert browser.patch("/api/me", json={"email": "owner@example.com"}, headers=session).status_code == 200
    new = {"password": "correct horse battery"}
    assert browser.put("/api/me/password", json=new, headers=session).status_code == 200
    assert "Set an email and a password" not in browser.get("/app/people").text
