"""The way to the provider and back, as a browser without scripts goes it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

import httpx
import pytest

from corral.base.errors import BadRequest
from corral.platform import plans, throttle
from corral.platform.database import fetch
from corral.platform.plans import Plan, Plans
from corral.platform.sign_on import options
from corral.platform.sign_on.provider import Provider
from corral.web.console.sign_on import COOKIE
from tests.support.oidc import Oidc
from tests.support.oidc_provider import CLIENT_SECRET
from tests.support.waiting import PATIENCE
from tests.web.conftest import Running

_LEADS_ON = re.compile(r'http-equiv="refresh" content="0; url=([^"]+)"')


@pytest.fixture(scope="module")
def oidc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oidc]:
    made = Oidc(tmp_path_factory.mktemp("oidc"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, oidc: Oidc) -> Iterator[Running]:
    """A server that lets anybody of one domain in."""
    told = options.from_env(oidc.env(DOMAINS="example.org", JOIN="viewer"))
    made = Running(tmp_path_factory.mktemp("company"), sign_on=told)
    yield made
    made.stop()


@pytest.fixture
def browser(company: Running) -> Iterator[httpx.Client]:
    url = company.server.settings.url
    with httpx.Client(base_url=url, headers={"Origin": url}, trust_env=False, timeout=20 * PATIENCE) as client:
        yield client


def left(browser: httpx.Client) -> str:
    """Press the button; return where it leads."""
    answer = browser.post("/app/sign-in/provider")
    assert answer.status_code == 200, answer.text
    found = _LEADS_ON.search(answer.text)
    assert found is not None
    return unescape(found[1])


def test_a_plan_may_lack_it(browser: httpx.Client, oidc: Oidc, monkeypatch: pytest.MonkeyPatch) -> None:
    free = Plan("free", features={"sso": False})
    monkeypatch.setattr(plans, "_plans", Plans({"free": free}, free))
    refused = browser.get(oidc.answer(left(browser), "eve@example.org"))
    assert refused.status_code == 403
    assert "Your plan, free, does not include sign-in with a provider (sso)" in refused.text
    assert "corral_session" not in browser.cookies


def test_the_way_there_and_back_begins_a_session(browser: httpx.Client, oidc: Oidc) -> None:
    assert "Sign in with Acme" in browser.get("/app/sign-in").text
    back = browser.get(oidc.answer(left(browser), "ada@example.org"))
    assert back.status_code == 303
    assert back.headers["location"] == "/app/runs"
    kept = {line.partition("=")[0]: line for line in back.headers.get_list("set-cookie")}
    assert "HttpOnly" in kept["corral_session"]
    assert "SameSite=Lax" in kept["corral_session"]
    assert "Max-Age=0" in kept[COOKIE]
    assert browser.get("/api/me").json()["role"] == "viewer"


def test_what_waits_for_the_way_back_is_out_of_reach_of_scripts_and_other_pages(browser: httpx.Client) -> None:
    answer = browser.post("/app/sign-in/provider")
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"{COOKIE}=")
    for part in ("HttpOnly", "SameSite=Lax", "Max-Age=600", "Path=/app/sign-in/provider"):
        assert part in cookie
    assert CLIENT_SECRET not in answer.text + cookie


def test_a_way_back_is_gone_once(browser: httpx.Client, oidc: Oidc) -> None:
    there = left(browser)
    kept = browser.cookies[COOKIE]
    url = oidc.answer(there, "ada@example.org")
    assert browser.get(url).status_code == 303
    again = browser.get(url)
    assert again.status_code == 403
    assert "did not begin this sign-in" in again.text
    # Also if somebody has kept the cookie: the provider gives a code out once.
    with_cookie = httpx.get(url, headers={"Cookie": f"{COOKIE}={kept}"}, trust_env=False, timeout=60)
    assert with_cookie.status_code == 403
    assert "cannot be trusted" in with_cookie.text


def test_an_answer_to_another_browser_signs_nobody_in(browser: httpx.Client, oidc: Oidc) -> None:
    url = oidc.answer(left(browser), "eve@example.org")
    assert httpx.get(url, trust_env=False, timeout=60).status_code == 403
    left(browser)  # another one, with a state of its own
    assert browser.get(url).status_code == 403
    forged = httpx.get(url, headers={"Cookie": f"{COOKIE}=eyJzdGF0ZSI6IngifQ.aaaa.bbbb"}, trust_env=False, timeout=60)
    assert forged.status_code == 403


def test_whom_the_provider_refuses_is_told_so_in_our_words(browser: httpx.Client, oidc: Oidc) -> None:
    answer = browser.get(oidc.answer(left(browser), "ada@example.org", act="deny"))
    assert answer.status_code == 403
    assert "Acme did not let you in" in answer.text
    assert "555" not in answer.text
    answer = browser.get(oidc.answer(left(browser), "ada@elsewhere.example"))
    assert answer.status_code == 403
    assert "ada@elsewhere.example may not come in here" in answer.text


def test_a_provider_that_is_away_does_not_take_the_other_ways_along(browser: httpx.Client, oidc: Oidc) -> None:
    url = oidc.answer(left(browser), "ada@example.org")
    with oidc.behaving(fails_at="/token"):
        answer = browser.get(url)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "Acme does not answer" in answer.text
    assert 'name="password"' in answer.text


def test_ways_back_that_fail_are_counted_for_their_address_as_failed_passwords_are(
    company: Running, browser: httpx.Client, oidc: Oidc
) -> None:
    def counted() -> int:
        rows = company.do(fetch("SELECT COALESCE(SUM(count), 0) AS n FROM sign_in_attempts"))
        return int(rows[0]["n"])

    company.do(fetch("DELETE FROM sign_in_attempts"))
    assert browser.get(oidc.answer(left(browser), "ada@example.org")).status_code == 303
    assert browser.get("/app/sign-in/provider/back?code=x&state=y").status_code == 403  # anybody can lead people there
    with oidc.behaving(fails_at="/token"):
        assert browser.get(oidc.answer(left(browser), "ada@example.org")).status_code == 503
    assert counted() == 0
    assert browser.get(oidc.answer(left(browser), "ada@elsewhere.example")).status_code == 403
    assert counted() == 1
    url = oidc.answer(left(browser), "ada@example.org")
    for _ in range(throttle.FROM_ADDRESS - 1):
        company.do(throttle.enter(None, "127.0.0.1"))
    for refused in (browser.get(url), browser.post("/app/sign-in/provider")):
        assert refused.status_code == 429
        assert "Too many sign-ins from your address failed" in refused.text
        assert 0 < int(refused.headers["retry-after"]) <= throttle.WINDOW_MS / 1000
    company.do(fetch("UPDATE sign_in_attempts SET started_at = started_at - $1", throttle.WINDOW_MS))
    assert browser.get(oidc.answer(left(browser), "ada@example.org")).status_code == 303


def test_another_site_cannot_send_anybody_there(browser: httpx.Client) -> None:
    answer = browser.post("/app/sign-in/provider", headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 403
    assert COOKIE not in answer.headers.get("set-cookie", "")


def test_without_a_provider_there_is_no_button_and_no_way(
    company: Running, browser: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company.server, "sign_on", None)
    assert "/app/sign-in/provider" not in browser.get("/app/sign-in").text
    assert browser.post("/app/sign-in/provider").status_code == 404
    assert browser.get("/app/sign-in/provider/back").status_code == 404


def test_a_server_that_lacks_the_library_says_so_at_its_start(
    company: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = company.server.settings.sign_on
    assert told is not None
    monkeypatch.setitem(sys.modules, "corral.platform.sign_on.calls", None)
    with pytest.raises(BadRequest, match=r"pip install 'corral\[oidc\]'"):
        Provider(replace(told), "http://127.0.0.1:3000")
