"""The console's pages of tasks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corral.agents import board
from tests.support.http import Api
from tests.web.conftest import Person


def test_a_task_has_its_page_although_its_tree_is_larger_than_what_is_shown_of_it(
    full: Api, person: Callable[[str], Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = {"name": "A", "role": "r", "model": "m", "provider": "openai", "glyph": "x"}
    whose = {"input": "i", "assignee": full.post("/api/agents", body=agent).json()["id"]}
    top = full.post("/api/tasks", body={**whose, "title": "Top"}).json()["id"]
    full.post("/api/tasks", body={**whose, "title": "Below", "parent": top}).raise_for_status()
    real = board.page
    monkeypatch.setattr(board, "page", lambda org_id, **asked: real(org_id, **{**asked, "limit": 1}))
    assert "Below" in person("viewer").get(f"/app/tasks/{top}")
