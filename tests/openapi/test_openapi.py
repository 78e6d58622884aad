"""Every operation of the document answers a 2xx, none a 5xx, and every answer is as the document says."""

from __future__ import annotations

import random
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
import schemathesis.core.result
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.support.seeds import Request, Seeds
from tests.support.server import Server

load_all_checks()
CONFORMS: Any = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)
#: The fuzzing is divided so that workers share it.
PARTS = 2
EXAMPLES = 4


@pytest.fixture(scope="module")
def seeds(hand_server: Server) -> Seeds:
    return Seeds(hand_server.api())


@pytest.fixture(scope="module")
def operations(hand_server: Server) -> list[Any]:
    document = httpx.get(f"{hand_server.url}/api/openapi.json", timeout=10).raise_for_status().json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=hand_server.url)
    found: list[Any] = []
    for result in schema.get_all_operations():
        assert isinstance(result, schemathesis.core.result.Ok), result
        found.append(result.ok())
    assert len(found) > 15
    return found


def test_every_operation_answers_a_2xx_as_it_promises(operations: list[Any], seeds: Seeds) -> None:
    for operation in operations:
        good = seeds.good(operation.label)
        names = {parameter.name for parameter in operation.path_parameters}
        case = operation.Case(
            path_parameters={name: value for name, value in good.path.items() if name in names},
            query=good.query or {},
            **({} if good.body is None else {"body": good.body, "media_type": "application/json"}),
        )
        response = case.call(headers=headers(seeds, good))
        assert 200 <= response.status_code < 300, f"{operation.label}: {response.status_code} {response.text[:300]}"
        case.validate_response(response, checks=CONFORMS)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_input_makes_an_answer_that_was_not_promised(operations: list[Any], seeds: Seeds, part: int) -> None:
    for operation in operations[part::PARTS]:
        good = seeds.good(operation.label)
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            fuzz(operation, mode, good, seeds)


def fuzz(operation: Any, mode: GenerationMode, good: Request, seeds: Seeds) -> None:
    dice = random.Random(operation.label)

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def answers_as_promised(case: Case[Any]) -> None:
        if dice.random() < 0.8:  # mostly about something that exists, so that more than the 404 is tried
            case.path_parameters.update({name: good.path[name] for name in case.path_parameters if name in good.path})
        body = case.body if isinstance(case.body, dict) else {}
        if "wait_seconds" in body:
            body["wait_seconds"] = 0
        if body and operation.path.startswith("/api/budgets"):  # which would stop the others' runs
            body["hard"] = False
        if operation.path.endswith("/limits") and type(body.get("rate_limit")) is int:
            body["rate_limit"] = 100_000  # less would refuse the requests that follow
        if operation.path.endswith("/messages/stream"):  # which has no end of its own
            case.query = {**(case.query or {}), "seconds": 0}
        response = case.call(headers=headers(seeds, good), timeout=20)
        case.validate_response(response, checks=CONFORMS)

    try:
        answers_as_promised()
    except hypothesis.errors.Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # an operation that takes nothing can be given nothing wrong


def headers(seeds: Seeds, good: Request) -> dict[str, str]:
    if good.session:
        return {"Cookie": f"corral_session={good.session}", "Origin": seeds.api.url}
    return {"Authorization": f"Bearer {good.key or seeds.api.key}"}
