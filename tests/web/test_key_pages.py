"""The console's page of API keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corral.platform import keys
from corral.web.console import keys as pages
from tests.support.http import Api
from tests.web.conftest import Person


@pytest.mark.parametrize(
    ("field", "value"), [("name", "k" * 201), ("rate_limit", "9" * 5000), ("rate_limit", "0"), ("days", "3")]
)
def test_what_does_not_fit_is_told_at_its_field(person: Callable[[str], Person], field: str, value: str) -> None:
    form = {"name": "k", "scopes": "runs:read", "rate_limit": "", "days": "", field: value}
    answer = person("admin").post("/app/keys", **form)
    assert answer.status_code == 400
    assert f'id="{field}-wrong"' in answer.text


def test_keys_beyond_a_page_are_on_the_next_and_revoked_ones_on_none(
    full: Api, person: Callable[[str], Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_PAGE", 2)
    made = [full.post("/api/v1/keys", body={"name": f"paged-{n}", "scopes": ["runs:read"]}).json() for n in range(5)]
    for key in made[2:4]:
        full.delete("/api/v1/keys/:id", key["id"]).raise_for_status()
    admin = person("admin")
    first = admin.get("/app/keys")
    assert [key["name"] for key in made if key["name"] in first] == ["paged-1", "paged-4"]
    assert f'href="/app/keys?before={made[1]["id"]}"' in first
    rest = admin.get(f"/app/keys?before={made[1]['id']}")
    assert "paged-0" in rest
    assert "paged-1" not in rest
    assert keys.PREFIX in rest
