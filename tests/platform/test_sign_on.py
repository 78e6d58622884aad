"""Whom an OpenID provider vouches for, and what it may do wrong. The provider is a real one, in another process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from corral.base.errors import BadRequest
from corral.platform.access import Role
from corral.platform.sign_on import calls, flow, options
from corral.platform.sign_on.errors import Away, Refused
from corral.platform.sign_on.flow import Flow
from corral.platform.sign_on.options import SignOn
from corral.platform.sign_on.provider import CALLBACK, Provider
from corral.platform.sign_on.tokens import Identity
from tests.support.oidc import Oidc
from tests.support.waiting import PATIENCE

HERE = "http://127.0.0.1:3000"
SOMEBODY = "ada@example.org"


@pytest.fixture(scope="module")
def oidc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oidc]:
    made = Oidc(tmp_path_factory.mktemp("oidc"))
    yield made
    made.stop()


@pytest.fixture
def told(oidc: Oidc) -> SignOn:
    found = options.from_env(oidc.env())
    assert found is not None
    return found


@pytest.fixture
def provider(told: SignOn) -> Provider:
    return Provider(told, HERE)


async def came_back(oidc: Oidc, provider: Provider, began: Flow, *, act: str = "allow") -> dict[str, str]:
    """Lead a browser there, sign in, and return what it brings back."""
    url = oidc.answer(await provider.begin(began), SOMEBODY, act=act)
    assert url.startswith(HERE + CALLBACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def signed_in(oidc: Oidc, provider: Provider) -> Identity:
    began = flow.begin()
    back = await came_back(oidc, provider, began)
    assert began.matches(back["state"])
    return await provider.finish(began, code=back["code"], issuer=back["iss"])


async def test_whoever_signs_in_is_who_the_provider_says(oidc: Oidc, provider: Provider) -> None:
    found = await signed_in(oidc, provider)
    assert found == Identity(oidc.issuer, f"sub-{SOMEBODY}", SOMEBODY, "Ada")


async def test_neither_the_secret_nor_the_verifier_is_in_the_address(oidc: Oidc, provider: Provider) -> None:
    began = flow.begin(invitation="the-token-of-an-invitation")
    url = await provider.begin(began)
    assert began.verifier not in url
    assert provider.options.client_secret not in url
    assert began.invitation not in url
    assert parse_qs(urlsplit(url).query)["code_challenge_method"] == ["S256"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": {"nonce": "of another sign-in"}},
        {"claims": {"nonce": None}},
        {"claims": {"aud": "another client"}},
        {"claims": {"aud": ["corral", "another client"]}},
        {"claims": {"aud": ["corral", "another client"], "azp": "another client"}},
        {"claims": {"iss": "https://elsewhere.example"}},
        {"claims": {"exp": 1_000_000_000}},
        {"claims": {"exp": None}},
        {"claims": {"iat": 4_000_000_000}},
        {"claims": {"sub": ""}},
        {"claims": {"sub": 7}},
        {"claims": {"sub": "x" * 300}},
        {"claims": {"at_hash": "b2YgYW5vdGhlciB0b2tlbg"}},
        {"alg": "none"},
        {"alg": "HS256"},
        {"stranger": True},
        {"floods_at": "/token"},
        {"configuration": {"jwks_uri": 7}},
        {"configuration": {"issuer": "https://elsewhere.example"}},
        {"configuration": {"token_endpoint": "http://elsewhere.example/token"}},
        {"claims": {"email": None}, "userinfo": {"sub": "somebody else"}},
        {"granted": None},
        {"granted": 7},
        {"granted": []},
        {"granted": "error"},
        {"granted": {}},
        {"granted": {"id_token": 7}},
        {"granted": {"id_token": "x", "expires_in": [1]}},
        {"granted": {"id_token": "x.y.z", "access_token": ["x"]}},
        {"configuration": {"jwks_uri": "http://127.0.0.1:99999/jwks"}},
        {"configuration": {"token_endpoint": "https://[/token"}},
    ],
    ids=str,
)
async def test_what_is_not_the_providers_word_about_this_sign_in_is_refused(
    oidc: Oidc, told: SignOn, wrong: dict[str, Any]
) -> None:
    provider, began = Provider(told, HERE), flow.begin()
    back = await came_back(oidc, provider, began)
    fresh = Provider(told, HERE)
    with oidc.behaving(**wrong), pytest.raises(Refused) as refused:
        await fresh.finish(began, code=back["code"], issuer=back["iss"])
    assert "Acme" in refused.value.message
    assert "nonce" not in refused.value.message


async def test_an_answer_of_another_issuer_is_refused_before_its_code_is_sent_anywhere(
    oidc: Oidc, provider: Provider
) -> None:
    began = flow.begin()
    back = await came_back(oidc, provider, began)
    asked = oidc.seen().count("/token")
    for issuer in ("https://elsewhere.example", ""):
        with pytest.raises(Refused):
            await provider.finish(began, code=back["code"], issuer=issuer)
    assert oidc.seen().count("/token") == asked


async def test_a_code_is_of_use_once_and_to_who_began(oidc: Oidc, provider: Provider) -> None:
    began = flow.begin()
    back = await came_back(oidc, provider, began)
    await provider.finish(began, code=back["code"], issuer=back["iss"])
    with pytest.raises(Refused):
        await provider.finish(began, code=back["code"], issuer=back["iss"])
    back = await came_back(oidc, provider, flow.begin())
    with pytest.raises(Refused):
        await provider.finish(flow.begin(), code=back["code"], issuer=back["iss"])


async def test_clocks_may_differ_by_less_than_a_minute(oidc: Oidc, provider: Provider) -> None:
    now = int(time.time())
    with oidc.behaving(claims={"iat": now + 30, "exp": now - 10}):
        assert (await signed_in(oidc, provider)).email == SOMEBODY


async def test_new_keys_are_asked_for_once_and_its_configuration_is_kept(oidc: Oidc, provider: Provider) -> None:
    await signed_in(oidc, provider)
    before = oidc.seen()
    await signed_in(oidc, provider)
    oidc.rotate()
    await signed_in(oidc, provider)
    seen = oidc.seen()[len(before) :]
    assert seen.count("/jwks") == 1
    assert "/.well-known/openid-configuration" not in seen


async def test_keys_may_be_of_another_kind(oidc: Oidc, provider: Provider) -> None:
    with oidc.behaving(alg="ES256"):
        assert (await signed_in(oidc, provider)).subject == f"sub-{SOMEBODY}"


async def test_only_a_verified_address_counts(oidc: Oidc, provider: Provider) -> None:
    for claims in ({"email_verified": False}, {"email_verified": None}, {"email_verified": "yes"}):
        with oidc.behaving(claims=claims):
            found = await signed_in(oidc, provider)
        assert found.email is None
        assert found.has_unverified_email
    with oidc.behaving(claims={"email": "Ada@Example.ORG"}):
        assert (await signed_in(oidc, provider)).email == SOMEBODY


async def test_an_address_may_come_from_userinfo(oidc: Oidc, provider: Provider) -> None:
    with oidc.behaving(claims={"email": None, "email_verified": None, "name": None}):
        assert await signed_in(oidc, provider) == Identity(oidc.issuer, f"sub-{SOMEBODY}", SOMEBODY, "Ada")


@pytest.mark.parametrize("at", ["/.well-known/openid-configuration", "/token", "/jwks"])
async def test_a_provider_that_hangs_or_fails_is_waited_for_with_an_end(
    oidc: Oidc, provider: Provider, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_SECONDS", 1.0 * PATIENCE)
    for wrong in ({"hangs_at": at}, {"fails_at": at}):
        began = flow.begin()
        back = await came_back(oidc, provider, began)
        fresh, since = Provider(provider.options, HERE), time.monotonic()
        with oidc.behaving(**wrong), pytest.raises(Away, match="Acme does not answer"):
            await fresh.finish(began, code=back["code"], issuer=back["iss"])
        assert time.monotonic() - since < 10 * PATIENCE


async def test_a_provider_that_is_not_there_is_away(told: SignOn, tmp_path: Path) -> None:
    gone = Oidc(tmp_path)
    gone.stop()
    found = options.from_env({**gone.env()})
    assert found is not None
    with pytest.raises(Away):
        await Provider(found, HERE).begin(flow.begin())


def test_what_the_browser_keeps_cannot_be_made_by_others(provider: Provider) -> None:
    began = flow.begin(user_id="somebody")
    packed = provider.pack(began)
    assert provider.unpack(packed) == began
    for forged in (packed[:-2] + "xx", "", "x.y.z", flow.pack(began, "another secret")):
        assert provider.unpack(forged) is None
    assert not began.matches("")
    assert not began.matches(flow.begin().state)


def test_what_the_browser_keeps_is_of_use_for_ten_minutes(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = provider.pack(flow.begin())
    monkeypatch.setattr(flow, "SECONDS", -1)
    assert provider.unpack(packed) is None


def test_settings_say_what_they_lack() -> None:
    least = {"CORRAL_OIDC_ISSUER": "https://id.example", "CORRAL_OIDC_CLIENT_ID": "c", "CORRAL_OIDC_CLIENT_SECRET": "s"}
    found = options.from_env(least)
    assert found is not None
    assert found.join is None
    assert "'s'" not in repr(found)
    for more, field in (
        ({"CORRAL_OIDC_ISSUER": "http://id.example"}, "CORRAL_OIDC_ISSUER"),
        ({"CORRAL_OIDC_CLIENT_ID": ""}, "CORRAL_OIDC_CLIENT_ID"),
        ({"CORRAL_OIDC_CLIENT_SECRET": ""}, "CORRAL_OIDC_CLIENT_SECRET"),
        ({"CORRAL_OIDC_JOIN": "owner", "CORRAL_OIDC_DOMAINS": "*"}, "CORRAL_OIDC_JOIN"),
        ({"CORRAL_OIDC_JOIN": "viewer"}, "CORRAL_OIDC_DOMAINS"),
    ):
        with pytest.raises(BadRequest) as wrong:
            options.from_env({**least, **more})
        assert wrong.value.field == field
    assert options.from_env({}) is None


def test_domains_say_whose_addresses_come_in() -> None:
    least = {"CORRAL_OIDC_ISSUER": "https://id.example", "CORRAL_OIDC_CLIENT_ID": "c", "CORRAL_OIDC_CLIENT_SECRET": "s"}
    found = options.from_env(
        {**least, "CORRAL_OIDC_DOMAINS": "Example.org, @acme.example", "CORRAL_OIDC_JOIN": "member"}
    )
    assert found is not None
    assert found.join is Role.MEMBER
    assert found.allows("ada@example.org")
    assert found.allows("bob@acme.example")
    for email in ("eve@sub.example.org", "eve@notexample.org", None):
        assert not found.allows(email)
