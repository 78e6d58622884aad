"""No endpoint of a delivered face goes untested."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.contract.endpoints import DELIVERED, TO_COME
from tests.contract.reference import curl
from tests.support.http import Api

HERE = Path(__file__).parent
VERBS = {"get": "GET", "post": "POST", "patch": "PATCH", "put": "PUT", "delete": "DELETE", "stream": "GET"}


def test_every_endpoint_of_a_delivered_face_is_called_by_a_contract_test() -> None:
    uncalled = DELIVERED - set(called())
    assert not uncalled, f"no contract test calls: {sorted(uncalled)} (still to come, whole: {', '.join(TO_COME)})"


def test_the_document_lists_just_what_is_delivered(quiet: Api) -> None:
    paths = quiet.get("/api/openapi.json").json()["paths"]
    documented = {(method.upper(), path.replace("{", ":").replace("}", "")) for path in paths for method in paths[path]}
    assert documented == DELIVERED


def test_the_contract_tests_import_nothing_of_the_product() -> None:
    folders = (HERE, HERE.parent / "support")
    starting = {"warm.py"}  # which is what starts the product, as a command line would
    for file in (file for folder in folders for file in folder.glob("*.py") if file.name not in starting):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "corral"], file.name


def called() -> Iterator[tuple[str, str]]:
    """Method and path of each call in the test modules: `api.get("/api/v1/runs/:id", …)`, and the curl lines."""
    for file in (*HERE.glob("test_*.py"), HERE.parent / "support" / "by_hand.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("curl "):
                request = curl(node.value)
                yield request.method, request.path.partition("?")[0].replace("clr...", ":id")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS:
                path = node.args[0] if node.args else None
                if isinstance(path, ast.Constant) and isinstance(path.value, str):
                    yield VERBS[node.func.attr], path.value
