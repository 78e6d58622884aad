"""Two people at one form: nobody undoes unseen what somebody else has saved meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser

import pytest

from tests.support.http import JSON, Api
from tests.web.conftest import Person, Running
from tests.web.test_secret_pages import an_agent

PersonMaker = Callable[[str], Person]


def epic(api: Api, agent: str) -> str:
    return f"/app/epics/{made(api, '/api/epics', {'title': 'Old'})}"


def task(api: Api, agent: str) -> str:
    return f"/app/tasks/{made(api, '/api/tasks', {'title': 'Old', 'assignee': agent, 'input': 'Old'})}/edit"


def budget(api: Api, agent: str) -> str:
    body = {"scope": "agent", "target": agent, "limit_usd": 5, "period": "month", "name": "Old"}
    return f"/app/budgets/{made(api, '/api/budgets', body)}/edit"


def server(api: Api, agent: str) -> str:
    return f"/app/mcps/{made(api, '/api/mcps', {'name': 'Old', 'transport': 'stdio', 'command': 'c'})}/edit"


def agent_itself(api: Api, agent: str) -> str:
    return f"/app/agents/{agent}/edit"


@pytest.mark.parametrize(
    ("of", "fields"),
    [
        (epic, ("title", "description")),
        (task, ("title", "input")),
        (budget, ("name", "limit")),
        (server, ("name", "args")),
        (agent_itself, ("name", "instructions")),
    ],
)
def test_who_saves_over_what_somebody_else_saved_is_told_first(
    running: Running, full: Api, person: PersonMaker, of: Callable[[Api, str], str], fields: tuple[str, str]
) -> None:
    name, other = fields
    path = of(full, an_agent(running, f"Of {of.__name__}"))
    ada, bob = person("admin"), person("admin")
    hers, his = form_of(ada.get(path)), form_of(bob.get(path))
    assert bob.post(path, **{**his, other: "7"}).status_code == 303
    refused = ada.post(path, **{**hers, name: "Hers"})
    assert refused.status_code == 400
    told = unescape(refused.text.partition('role="alert">')[2].partition("</p>")[0])
    assert f"differs from yours in {name}, {other}." in told
    again = form_of(refused.text)
    assert again[name] == "Hers"
    assert again[other] == hers[other]
    assert ada.post(path, **again).status_code == 303
    now = form_of(bob.get(path))
    assert (now[name], now[other]) == ("Hers", hers[other])


def made(api: Api, path: str, body: JSON) -> str:
    return str(api.post(path, body=body).raise_for_status().json()["id"])


class Fields(HTMLParser):
    """What a browser would send of the form in the middle of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.field = ""  #: the one whose text or options come now
        self.feed(page.partition('<form class="form')[2].partition("</form>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"select", "textarea"}:
            self.field = given["name"] or ""
        elif tag == "option" and ("selected" in given or self.field not in self.values):
            self.values[self.field] = given["value"] or ""
        elif tag == "input" and (given.get("type") not in {"radio", "checkbox"} or "checked" in given):
            self.values[given["name"] or ""] = given.get("value") or ""
        if tag == "textarea":
            self.values[self.field] = ""

    def handle_data(self, data: str) -> None:
        if self.lasttag == "textarea" and self.field:
            self.values[self.field] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.field = ""


def form_of(page: str) -> dict[str, str]:
    return Fields(page).values
