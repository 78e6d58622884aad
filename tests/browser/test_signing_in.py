from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import ConsoleMaker
from tests.support.server import Server


def test_a_link_signs_in_once_and_its_token_leaves_the_address_bar(
    open_console: ConsoleMaker, shared_server: Server
) -> None:
    console = open_console(shared_server, signed_in=False)
    link = console.link()
    requests: list[str] = []
    console.page.on("request", lambda request: requests.append(request.url))
    console.page.goto(link)
    expect(console.heading()).to_have_text("Runs")
    token = link.partition("#")[2]
    assert token
    assert token not in console.page.url
    assert not any(token in url.partition("#")[0] for url in requests)

    again = open_console(shared_server, signed_in=False)
    again.page.goto(link)
    expect(again.page.get_by_role("alert")).to_contain_text("does not sign you in")
    expect(again.page.get_by_text("corral sign-in", exact=True)).to_be_visible()


def test_a_page_without_a_session_leads_to_signing_in_and_says_how(
    open_console: ConsoleMaker, shared_server: Server
) -> None:
    console = open_console(shared_server, signed_in=False)
    console.goto("/app/runs")
    expect(console.heading()).to_have_text("Sign in to Corral")
    expect(console.page.get_by_text("corral sign-in")).to_be_visible()


def test_signing_out_ends_the_session(open_console: ConsoleMaker, shared_server: Server) -> None:
    console = open_console(shared_server)
    console.goto("/app/runs")
    console.page.get_by_role("button", name="Owner").click()
    console.page.get_by_role("button", name="Sign out").click()
    expect(console.heading()).to_have_text("Sign in to Corral")
    console.goto("/app/runs")
    expect(console.heading()).to_have_text("Sign in to Corral")


def test_the_root_leads_to_the_console(open_console: ConsoleMaker, shared_server: Server) -> None:
    console = open_console(shared_server)
    console.goto("/")
    expect(console.heading()).to_have_text("Runs")
