"""Nobody is offered what they would be refused: each form and link of each page leads where its reader may go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from corral.base.errors import Forbidden
from corral.platform.access import Principal, Role, require, scopes_of
from corral.web.app import routes
from corral.web.routes import Route
from tests.web.audited import paused_run
from tests.web.conftest import Person, Running
from tests.web.filled import MARK, filled_org, person_of_first_org

#: Paths without parameters first, as the server looks for them.
ROUTES = sorted(routes(), key=lambda route: route.path.count("<"))
PAGES = [route for route in ROUTES if route.method == "GET" and route.path.startswith("/app/") and not route.open]
#: What a page needs to be about something.
QUERIES = {"/app/secrets/one": f"?key={MARK.upper()}_SECRET", "/app/usage/export": "?table=cost"}
#: Forms that no page of this org has an occasion for, whoever looks at it.
WITHOUT_OCCASION = {
    "/app/invitation/join",
    "/app/orgs/switch",
    "/app/profile/identities",
    "/app/profile/identities/<no>/disconnect",
    "/app/sign-ins/end-others",
}
#: Keys that move the focus: they need no element of their own.
MOVING = set("jk↵←→↑↓")
ROLES = list(Role)


@dataclass
class Page(HTMLParser):
    """What a page offers: where its forms and links lead, which dialogs its buttons open, and what keys do."""

    path: str
    text: str
    sends: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    opens: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)  #: keys in the list of shortcuts

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)
        self.listed = shortcuts(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element offers."""
        told = {name: value or "" for name, value in attrs}
        if tag == "form" and told.get("method") == "post":
            self.sends.add(told["action"])
        self.sends |= {told[name] for name in ("formaction", "hx-post") if name in told}
        if tag == "a" and told.get("href", "").startswith("/app/"):
            self.links.add(told["href"])
        if "data-dialog" in told:
            self.opens.add(told["data-dialog"])
        if "data-move" in told:
            self.opens.add("move-dialog")
        self.ids.add(told.get("id", ""))
        self.keys.add(told.get("data-key", ""))


def may(role: Role, method: str, path: str) -> bool:
    """Tell whether a person of this role may use what is behind a path."""
    route = next(one for one in ROUTES if one.method == method and matches(one, urlsplit(path).path))
    if not route.open:
        try:
            require(somebody(role), route.scope, route.role)
        except Forbidden:
            return False
    return True


def matches(route: Route, path: str) -> bool:
    return re.fullmatch(re.sub(r"<[a-z_]+>", "[^/]+", route.path), path) is not None


def somebody(role: Role) -> Principal:
    return Principal(1, "user:u", scopes_of(role), role, user_id="u", sign_in="s")


def walked(person: Person, role: Role, ids: dict[str, list[str]]) -> list[Page]:
    """Open every page that this role may, for everything there is."""
    found = []
    for route in PAGES:
        names = re.findall(r"<([a-z_]+)>", route.path)
        if not may(role, "GET", route.path) or (names and not ids):
            continue
        for id_ in ids[names[0].removesuffix("_id")] if names else [""]:
            path = re.sub(r"<[a-z_]+>", id_, route.path)
            answer = person.client.get(path + (QUERIES.get(route.path, "") if ids else ""))
            if answer.is_success and answer.headers["content-type"].startswith("text/html"):
                found.append(Page(path, answer.text))
            else:
                assert not names or answer.status_code in (200, 303), (path, answer.status_code, answer.text)
    return found


def shortcuts(text: str) -> set[str]:
    """Return the keys that the list of a page names, those that follow another one together with it."""
    entries = [re.findall(r"<kbd>(.*?)</kbd>", entry) for entry in re.findall(r"<dt>(.*?)</dt>", text)]
    return {key for keys in entries for key in ([" ".join(keys)] if "g" in keys else keys)}


@pytest.fixture(scope="module")
def pages(running: Running) -> Iterator[dict[Role, list[Page]]]:
    """What each role sees of an org that has nothing yet, and of one that has one of everything."""
    people = {role: Person(running, role) for role in ROLES}
    seen = {role: walked(people[role], role, {}) for role in ROLES}
    with running.api() as api:
        seeds, ids = filled_org(api, running.do(person_of_first_org()))
        task = {"title": "fails", "input": "i", "assignee": seeds.agent(autostart=False)}
        failed = api.post("/api/tasks", body=task).raise_for_status().json()["id"]
        api.patch("/api/tasks/:id", failed, body={"status": "error"}).raise_for_status()
        ids["task"].append(failed)
        ids["run"].append(paused_run(seeds))
    yield {role: seen[role] + walked(people[role], role, ids) for role in ROLES}
    for person in people.values():
        person.client.close()


@pytest.mark.parametrize("role", ROLES)
def test_every_form_is_sent_where_who_sees_it_may_send_it(pages: dict[Role, list[Page]], role: Role) -> None:
    offered = {(page.path, to) for page in pages[role] for to in page.sends}
    assert len(offered) > len(PAGES) / 2  # nearly each page lets its reader sign out
    assert [one for one in sorted(offered) if not may(role, "POST", one[1])] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_link_leads_where_who_sees_it_may_go(pages: dict[Role, list[Page]], role: Role) -> None:
    offered = {(page.path, to) for page in pages[role] for to in page.links}
    assert [one for one in sorted(offered) if not may(role, "GET", one[1])] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_button_that_opens_a_dialog_has_one(pages: dict[Role, list[Page]], role: Role) -> None:
    assert [(page.path, name) for page in pages[role] for name in sorted(page.opens - page.ids)] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_key_that_the_list_of_shortcuts_names_does_something_for_who_reads_it(
    pages: dict[Role, list[Page]], role: Role
) -> None:
    listed = set[str]().union(*(page.listed for page in pages[role]))
    keys = set[str]().union(*(page.keys for page in pages[role]))
    assert listed - keys - MOVING == set()
    assert ("m" in listed) is (role != Role.VIEWER)


@pytest.mark.parametrize("role", ROLES)
def test_only_who_may_continue_a_paused_run_is_told_to(pages: dict[Role, list[Page]], role: Role) -> None:
    is_told = any("Continue it, and it goes on" in page.text for page in pages[role])
    assert is_told is may(role, "POST", "/app/runs/x/continue")


def test_who_may_is_offered_all_of_it(pages: dict[Role, list[Page]]) -> None:
    sent = {urlsplit(to).path for page in pages[Role.OWNER] for to in page.sends}
    unseen = {one.path for one in ROUTES if is_form(one) and not any(matches(one, path) for path in sent)}
    assert unseen == WITHOUT_OCCASION


def is_form(route: Route) -> bool:
    return route.method == "POST" and route.path.startswith("/app/") and not route.open
