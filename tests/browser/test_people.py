"""People come, are something, and go: each in a browser of their own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.support.oidc import Oidc
from tests.support.oidc_provider import CLIENT_SECRET
from tests.support.server import Server

PASSWORD = "four plain words here"


@pytest.fixture(scope="module")
def oidc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oidc]:
    made = Oidc(tmp_path_factory.mktemp("oidc"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, oidc: Oidc) -> Iterator[Server]:
    """A server that people may sign in to with the provider; its people are these tests' own."""
    made = Server(tmp_path_factory.mktemp("home") / "server", env=oidc.env()).start()
    yield made
    made.stop()


@pytest.fixture
def owner(open_console: ConsoleMaker, home: Server) -> Console:
    return open_console(home)


def somebody() -> str:
    return f"ada-{uuid.uuid4().hex[:8]}@example.org"


def invited(owner: Console, email: str = "", role: str = "Member") -> str:
    """Invite somebody on the page, and return the link."""
    page = owner.goto("/app/people")
    page.get_by_label("Email", exact=True).fill(email)
    page.locator("form[action$=invite]").get_by_label(re.compile(f"^{role}")).check()
    page.get_by_role("button", name="Make the link").click()
    return page.locator("#made-link").inner_text()


def came_in(open_console: ConsoleMaker, home: Server, link: str, email: str, name: str = "Ada") -> Console:
    """Open the link in another browser, and come in as somebody new."""
    console = open_console(home, signed_in=False)
    page = console.goto(link)
    expect(console.heading()).to_have_text("Join Corral")
    assert link.partition("#")[2] not in page.url
    if page.get_by_label("Email").is_editable():
        page.get_by_label("Email").fill(email)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Join", exact=True).click()
    expect(console.heading()).to_have_text("Runs")
    return console


def with_password(console: Console, email: str, password: str = PASSWORD) -> Page:
    page = console.goto("/app/sign-in")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    return page


def test_somebody_is_invited_comes_in_becomes_more_and_is_gone_within_a_second(
    open_console: ConsoleMaker, home: Server, owner: Console
) -> None:
    email = somebody()
    link = invited(owner, email, "Viewer")
    page = owner.page
    page.reload()
    assert link not in page.content()
    expect(page.get_by_role("row", name=re.compile(email))).to_contain_text("viewer")

    ada = came_in(open_console, home, link, email)
    ada.goto("/app/people")
    expect(ada.page.get_by_role("row", name=re.compile("Ada"))).to_contain_text("you")
    expect(ada.page.get_by_text("Owners and admins invite people.")).to_be_visible()
    csrf = ada.page.locator("input[name=csrf]").first.get_attribute("value")
    refused = ada.page.request.post("/app/people/invite", form={"csrf": csrf or "", "role": "viewer", "days": "7"},
                                    headers={"Origin": home.url})  # fmt: skip
    assert refused.status == 403
    launched = ada.page.request.post("/api/v1/runs", data={"prompt": "p", "cwd": "/srv"}, headers={"Origin": home.url})
    assert launched.status == 403
    assert "viewer" in launched.text()

    page = owner.goto("/app/people")
    row = page.get_by_role("row", name=re.compile(email))
    row.get_by_role("button", name="Change the role of Ada").click()
    page.get_by_role("dialog").get_by_label(re.compile("^Member")).check()
    page.get_by_role("button", name="Change the role").last.click()
    expect(row).to_contain_text("member")
    launched = ada.page.request.post("/api/v1/runs", data={"prompt": "p", "cwd": "/srv"}, headers={"Origin": home.url})
    assert launched.status == 201, launched.text()
    run = launched.json()["id"]
    ada.page.request.post(f"/api/runs/{run}/cancel", headers={"Origin": home.url})
    expect(ada.goto(f"/app/runs/{run}").get_by_text("Cancelled by a person (You)")).to_be_visible()
    expect(owner.goto(f"/app/runs/{run}").get_by_text("Cancelled by a person (Ada)")).to_be_visible()
    owner.goto("/app/people")

    ada.goto("/app/runs")
    row.get_by_role("button", name="Remove Ada").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    expect(row).to_have_count(0)
    expect(ada.page).to_have_url(re.compile("/app/sign-in$"))
    assert ada.page.request.get("/api/v1/runs").status == 401


def test_a_link_for_whoever_has_it_is_of_use_once_and_none_when_revoked(
    open_console: ConsoleMaker, home: Server, owner: Console
) -> None:
    link, email = invited(owner), somebody()
    came_in(open_console, home, link, email)
    late = open_console(home, signed_in=False)
    late.goto(link)
    expect(late.heading()).to_have_text("This invitation is over")
    again = invited(owner, somebody())
    owner.page.reload()
    owner.page.get_by_role("button", name=re.compile("Revoke the invitation")).click()
    expect(owner.page.get_by_text("Nobody is invited at the moment.")).to_be_visible()
    late.goto(again)
    expect(late.heading()).to_have_text("This invitation is over")


def test_what_is_wrong_with_an_invitation_or_with_who_comes_stands_beside_the_field(
    open_console: ConsoleMaker, home: Server, owner: Console
) -> None:
    email = somebody()
    link = invited(owner, email)
    new = open_console(home, signed_in=False)
    page = new.goto(link)
    expect(page.get_by_label("Email")).to_have_value(email)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Join", exact=True).click()
    expect(page.locator("#password-wrong")).to_contain_text("at least 10 characters")
    expect(page.get_by_label("Your name")).to_have_value("Ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Join", exact=True).click()
    expect(new.heading()).to_have_text("Runs")

    page = owner.goto("/app/people")
    page.get_by_label("Email", exact=True).fill(email)
    page.get_by_role("button", name="Make the link").click()
    expect(page.locator("#email-wrong")).to_contain_text("in this org already")


def test_a_new_password_ends_the_sign_in_elsewhere_and_the_old_one_is_of_no_use(
    open_console: ConsoleMaker, home: Server, owner: Console
) -> None:
    email = somebody()
    here = came_in(open_console, home, invited(owner, email), email)
    there = open_console(home, signed_in=False)
    with_password(there, email)
    expect(there.heading()).to_have_text("Runs")

    page = here.goto("/app/sign-ins")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_role("row", name=re.compile("this one"))).to_contain_text("with a password")

    page = here.goto("/app/profile")
    page.get_by_label("The one you have now").fill("not this one at all")
    page.get_by_label("New password").fill(PASSWORD + "!")
    page.get_by_label("Once more").fill(PASSWORD + "?")
    page.get_by_role("button", name="Change the password").click()
    expect(page.locator("#again-wrong")).to_have_text("This is not the same password.")
    for current, wrong in (("not this one at all", True), (PASSWORD, False)):
        page.get_by_label("The one you have now").fill(current)
        page.get_by_label("New password").fill(PASSWORD + "!")
        page.get_by_label("Once more").fill(PASSWORD + "!")
        page.get_by_role("button", name="Change the password").click()
        if wrong:
            expect(page.locator("#current-wrong")).to_contain_text("not the password that you have now")
    expect(page.get_by_role("status").filter(has_text="Your password is set")).to_be_visible()
    expect(there.page).to_have_url(re.compile("/app/sign-in$"))
    with_password(there, email)
    expect(there.page.locator("#password-wrong")).to_contain_text("no account with this email and password")
    expect(there.page.get_by_label("Email")).to_have_value(email)
    with_password(there, email, PASSWORD + "!")
    expect(there.heading()).to_have_text("Runs")


def test_one_sign_in_is_ended_or_all_others_and_an_admin_ends_anybodys(
    open_console: ConsoleMaker, home: Server, owner: Console
) -> None:
    email, name = somebody(), f"Ada {uuid.uuid4().hex[:6]}"
    here = came_in(open_console, home, invited(owner, email), email, name)
    others = [open_console(home, signed_in=False) for _ in range(2)]
    for other in others:
        with_password(other, email)
        expect(other.heading()).to_have_text("Runs")
    page = here.goto("/app/sign-ins")
    page.get_by_role("button", name=re.compile("^End Chrome")).first.click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="End all others").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    for other in others:
        assert other.page.request.get("/api/v1/runs").status == 401

    page = owner.goto("/app/sign-ins")
    page.get_by_role("button", name=f"End the sign-in of {name}").click()
    expect(page.get_by_role("button", name=f"End the sign-in of {name}")).to_have_count(0)
    here.goto("/app/runs")
    expect(here.heading()).to_have_text("Sign in to Corral")


def test_who_is_in_several_orgs_switches_between_them(open_console: ConsoleMaker, home: Server, owner: Console) -> None:
    name = f"Lab {uuid.uuid4().hex[:6]}"
    own = somebody()
    boss = came_in(open_console, home, invited(owner, own, "Owner"), own, "Bob")
    page = boss.goto("/app/people")
    page.get_by_role("link", name="New org…").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Make the org").click()
    expect(boss.heading()).to_have_text(f"People of {name}")
    expect(page.locator("tbody tr")).to_have_count(1)

    email = somebody()
    ada = came_in_to(open_console, home, invited(boss, email), email, name)
    expect(ada.page.get_by_role("button", name=re.compile("switch to another org"))).to_have_count(0)

    other, form = boss.context.new_page(), boss.context.new_page()
    other.goto("/app/agents")
    form.goto("/app/messages/new")
    form.get_by_label("Message").fill("To everybody in the lab")
    form.get_by_label("To", exact=True).select_option(index=1)
    page.get_by_role("button", name=f"{name}: switch to another org").click()
    page.locator("#orgs").get_by_role("button", name=re.compile("^Corral")).click()
    expect(boss.heading()).to_have_text("Runs")
    # Another tab follows, and what was written for one org is not done in another.
    expect(other.get_by_role("button", name="Corral: switch to another org")).to_be_visible()
    form.get_by_role("button", name="Send").click()
    expect(form.locator("[data-message]")).to_contain_text("reload the page")
    boss.goto("/app/people")
    expect(boss.heading()).to_have_text("People of Corral")
    expect(page.get_by_role("row", name=re.compile(email))).to_have_count(0)

    # An invitation into another org is accepted as who is signed in.
    link = invited(boss, email, "Admin")
    ada.goto(link)
    ada.page.get_by_role("button", name="Join as Ada").click()
    expect(ada.heading()).to_have_text("Runs")
    expect(ada.page.get_by_role("button", name="Corral: switch to another org")).to_be_visible()


def came_in_to(open_console: ConsoleMaker, home: Server, link: str, email: str, org: str) -> Console:
    console = open_console(home, signed_in=False)
    page = console.goto(link)
    expect(console.heading()).to_have_text(f"Join {org}")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Join", exact=True).click()
    expect(console.heading()).to_have_text("Runs")
    assert page.get_by_role("link", name="Settings").count()
    assert email
    return console


def at_the_provider(console: Console, oidc: Oidc, email: str, act: str = "Sign in") -> None:
    page = console.page
    expect(console.heading()).to_have_text("The provider")
    assert page.url.startswith(oidc.issuer)
    page.get_by_label("Email").fill(email)
    page.get_by_role("button", name=act).click()


def test_somebody_invited_comes_in_by_the_provider_and_from_then_on_by_its_button(
    open_console: ConsoleMaker, home: Server, owner: Console, oidc: Oidc
) -> None:
    email = somebody()
    link = invited(owner, email)
    ada = open_console(home, signed_in=False)
    requests: list[str] = []
    ada.page.on("request", lambda request: requests.append(request.url))
    ada.goto(link)
    ada.page.get_by_role("button", name="Join with Acme").click()
    at_the_provider(ada, oidc, email)
    expect(ada.heading()).to_have_text("Runs")
    assert not any(link.partition("#")[2] in url.partition("#")[0] for url in requests)

    again = open_console(home, signed_in=False)
    again.goto("/app/sign-in")
    again.page.get_by_role("button", name="Sign in with Acme").click()
    at_the_provider(again, oidc, email)
    expect(again.heading()).to_have_text("Runs")
    page = again.goto("/app/profile")
    expect(page.get_by_role("row", name=re.compile(f"sub-{email}"))).to_contain_text("Acme")
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("alert")).to_contain_text("Set an email and a password first")
    written = home.process.output()
    assert CLIENT_SECRET not in written
    assert link.partition("#")[2] not in written


def test_whom_nobody_knows_and_who_changes_their_mind_is_told_so(
    open_console: ConsoleMaker, home: Server, oidc: Oidc
) -> None:
    stranger = open_console(home, signed_in=False)
    email = somebody()
    for act, says in (("Sign in", f"Nobody here has the email {email}"), ("Cancel", "Acme did not let you in")):
        stranger.goto("/app/sign-in")
        stranger.page.get_by_role("button", name="Sign in with Acme").click()
        at_the_provider(stranger, oidc, email, act)
        expect(stranger.page.get_by_role("alert").first).to_contain_text(says)
        assert "555" not in stranger.page.content()


def test_an_account_is_connected_with_the_provider_from_its_profile(
    open_console: ConsoleMaker, home: Server, owner: Console, oidc: Oidc
) -> None:
    email, there = somebody(), somebody()
    ada = came_in(open_console, home, invited(owner, email), email)
    page = ada.goto("/app/profile")
    page.get_by_role("button", name="Connect your account of Acme").click()
    at_the_provider(ada, oidc, there)
    expect(page.get_by_role("row", name=re.compile(f"sub-{there}"))).to_be_visible()
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("row", name=re.compile(f"sub-{there}"))).to_have_count(0)
