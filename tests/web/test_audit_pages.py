"""The console's page of the audit log, without a browser; and the table that it exports."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest

from corral.platform import audit
from corral.platform.audited import Action
from corral.platform.database import Unit, commit
from corral.web.console import audit_views
from tests.support.http import Api
from tests.web.conftest import Person, Running

PersonMaker = Callable[[str], Person]


def rows(page: str) -> list[str]:
    """The lines of the page as text."""
    found = re.findall(r'<tr id="line-[^"]+">(.*?)</tr>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def test_a_line_tells_who_did_what_to_what_with_links_to_all_of_them(full: Api, person: PersonMaker) -> None:
    owner = person("owner")
    owner.post("/app/epics", title="Audited epic")
    newest = rows(owner.get("/app/audit"))[0]
    assert newest.startswith("owner made epic Audited epic")
    assert "127.0.0.1" in newest
    agent = {"name": "Anna", "role": "r", "model": "m", "provider": "anthropic", "glyph": "🐎"}
    id_ = full.post("/api/agents", body=agent).json()["id"]
    full.patch("/api/agents/:id", id_, body={"name": "Berta", "role": "a new one"})
    page = owner.get("/app/audit")
    assert "API key “first key” changed agent Anna · name: Anna → Berta · also changed: role" in rows(page)[0]
    assert f'href="/app/agents/{id_}"' in page
    assert f'href="/app/audit?target={id_}"' in page
    assert len(rows(owner.get(f"/app/audit?target={id_}"))) == 2


def test_lines_are_filtered_by_who_what_and_day_and_exported_as_they_are_filtered(
    full: Api, person: PersonMaker
) -> None:
    owner = person("owner")
    for title in ("one", "two"):
        owner.post("/app/epics", title=title)
    full.post("/api/epics", body={"title": "three"})
    mine = re.search(r'href="/app/audit\?(actor=user[^"]+)"', owner.get("/app/audit"))
    assert mine
    page = owner.get(f"/app/audit?{mine[1]}&action=epic.created")
    assert [row.partition(" history")[0] for row in rows(page)] == ["owner made epic two", "owner made epic one"]
    assert "three" not in page
    export = re.search(r'href="(/api/audit[^"]+)"', page)
    assert export
    exported = list(csv.DictReader(io.StringIO(owner.get(export[1].replace("&amp;", "&")))))
    assert len(exported) == len(rows(page))
    assert {row["action"] for row in exported} == {"epic.created"}
    assert rows(owner.get("/app/audit?first=2020-01-01&last=2020-01-31")) == []
    assert "No such line" in owner.get("/app/audit?last=2020-01-31")
    owner.get("/app/audit?first=the+day+before", status=400)


def test_older_lines_are_on_further_pages(running: Running, person: PersonMaker) -> None:
    running.do(commit(many("paged", 150)))
    owner = person("owner")
    first = owner.get("/app/audit?actor=paged")
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older
    second = owner.get(older[1].replace("&amp;", "&"))
    assert (len(rows(first)), len(rows(second))) == (100, 50)
    assert 'rel="next"' not in second


def test_a_table_has_all_lines_however_many_there_are(running: Running, full: Api) -> None:
    running.do(commit(many("tabled", 2050)))
    told = full.get("/api/audit", query={"format": "csv", "actor": "tabled"})
    ids = [row["target_id"] for row in csv.DictReader(io.StringIO(told.text))]
    assert ids == [str(n) for n in reversed(range(2050))]
    cut = full.get("/api/audit", query={"format": "csv", "actor": "tabled", "limit": 10})
    assert len(cut.text.splitlines()) == 11
    assert full.call("HEAD", "/api/audit", query={"format": "csv"}).content == b""


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_who_may_not_read_it_is_not_led_there(person: PersonMaker, role: str) -> None:
    one = person(role)
    assert "/app/audit" not in one.get("/app/runs")
    one.get("/app/audit", status=403)


def test_there_are_words_for_every_action() -> None:
    assert audit_views.KNOWN.keys() == set(get_args(Action))


def test_an_action_that_no_word_is_known_for_is_shown_all_the_same(running: Running, person: PersonMaker) -> None:
    turned: Any = "thing.turned_over"
    running.do(commit(audit.note(1, turned, turned.partition(".")[0], "7", why=["a", None, True])))
    assert rows(person("admin").get("/app/audit?kind=thing"))[0].startswith(
        "Corral turned over thing 7 · why: a, none, yes"
    )


def many(actor: str, count: int) -> Unit[None]:
    for n in range(count):
        yield from audit.note(1, "epic.created", "epic", str(n), actor=actor)


def test_what_has_no_name_has_no_link_either(person: PersonMaker) -> None:
    page = person("admin").get("/app/audit?action=sign_in.begun")
    assert "sign_in.begun" in page
    assert ">open</a>" not in page
