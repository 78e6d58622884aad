from __future__ import annotations

import re
from typing import Any

import pytest

from corral.web.app import routes
from corral.web.openapi import document
from corral.web.routes import Table

DOCUMENT = document(Table(routes()))
OPERATIONS = [(path, method, told) for path, item in DOCUMENT["paths"].items() for method, told in item.items()]


def test_every_route_of_the_api_is_documented_and_no_page_is() -> None:
    wanted = {(re.sub(r"<(\w+)>", r"{\1}", r.path), r.method.lower()) for r in routes() if not r.hidden}
    assert {(path, method) for path, method, _ in OPERATIONS} == wanted
    assert not [path for path in DOCUMENT["paths"] if path.startswith(("/app", "/static"))]


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used = set(references(DOCUMENT))
    assert used == set(DOCUMENT["components"]["schemas"])


def references(value: Any) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].removeprefix("#/components/schemas/")
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.parametrize(("path", "method", "told"), OPERATIONS, ids=lambda value: str(value)[:40])
def test_every_operation_says_who_may_call_it_and_how_it_may_fail(path: str, method: str, told: dict[str, Any]) -> None:
    assert told["summary"]
    assert {"500", "503"} <= set(told["responses"])
    if told.get("security") == []:
        assert path in {
            "/api/health",
            "/api/ready",
            "/api/openapi.json",
            "/api/sign-ins",
            "/api/invitations/accept",
        }
    else:
        assert {"400", "401", "403", "413"} <= set(told["responses"])
        assert told["description"].startswith("Scope: ")
    if "{" in path:
        assert "404" in told["responses"]
    places = {parameter["name"] for parameter in told["parameters"] if parameter["in"] == "path"}
    assert places == set(re.findall(r"{(\w+)}", path))


def test_a_path_has_one_operation_id_each() -> None:
    ids = [told["operationId"] for _, _, told in OPERATIONS]
    assert len(set(ids)) == len(ids)
