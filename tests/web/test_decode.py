from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.base.errors import BadRequest
from corral.web.app import routes
from corral.web.decode import body_decoder, form_decoder, query_decoder
from corral.web.spelling import names
from corral.wire.events import EventBatch
from corral.wire.runner import Register
from corral.wire.runs import PermissionMode


class Inner(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    inner_name: Annotated[str, msgspec.Meta(min_length=1, max_length=5)]


class Body(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    some_text: Annotated[str, msgspec.Meta(pattern=r"\S")]
    permission_mode: PermissionMode = PermissionMode.DEFAULT
    max_turns: Annotated[int, msgspec.Meta(ge=1, le=10)] | None = None
    inner_list: list[Inner] = []
    env: dict[str, str] = {}
    decision: Literal["allow", "deny"] = "allow"
    days: Annotated[float, msgspec.Meta(le=30)] = 7


class Answer(msgspec.Struct, rename="camel"):
    id: str
    created_at: str


decode = body_decoder(Body, (Answer,))


def refused(body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as error:
        decode(body if isinstance(body, bytes) else json.dumps(body).encode())
    return error.value


def test_every_field_is_taken_in_either_spelling_at_any_depth() -> None:
    camel = decode(b'{"someText": "x", "maxTurns": 3, "innerList": [{"innerName": "a"}]}')
    snake = decode(b'{"some_text": "x", "max_turns": 3, "inner_list": [{"inner_name": "a"}]}')
    mixed = decode(b'{"someText": "x", "max_turns": 3, "inner_list": [{"innerName": "a"}]}')
    assert camel == snake == mixed


def test_keys_inside_free_objects_are_left_alone() -> None:
    assert decode(b'{"some_text": "x", "env": {"MY_VAR": "1", "myVar": "2"}}').env == {"MY_VAR": "1", "myVar": "2"}


def test_fields_that_only_answers_have_are_ignored_in_either_spelling() -> None:
    assert decode(b'{"someText": "x", "id": 7, "createdAt": null, "created_at": 1}').some_text == "x"


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({}, "someText", "is missing"),
        ({"some_text": 7}, "some_text", "must be a string, not 7"),
        ({"someText": None}, "someText", "must be a string, not null"),
        ({"someText": "  "}, "someText", "must not be blank"),
        ({"someText": "x", "some_text": "x"}, "some_text", "two spellings"),
        ({"someText": "x", "permission_mode": "yolo"}, "permission_mode", "one of default, acceptEdits"),
        ({"someText": "x", "permissionMode": True}, "permissionMode", "must be a string"),
        ({"someText": "x", "decision": "maybe"}, "decision", "one of allow, deny, not 'maybe'"),
        ({"someText": "x", "max_turns": 0}, "max_turns", "at least 1, not 0"),
        ({"someText": "x", "maxTurns": 11}, "maxTurns", "at most 10"),
        ({"someText": "x", "days": 30.5}, "days", "must be at most 30, not 30.5"),
        ({"someText": "x", "maxTurns": "3"}, "maxTurns", "a whole number or null, not '3'"),
        ({"someText": "x", "maxTurns": 1.5}, "maxTurns", "a whole number or null, not 1.5"),
        ({"someText": "x", "maxTurns": 10**30}, "maxTurns", "at most 10"),
        ({"someText": "x", "inner_list": [{"inner_name": ""}]}, "inner_list[0].inner_name", "must not be empty"),
        ({"someText": "x", "innerList": [{"innerName": "a"}, {"innerName": "abcdef"}]}, "innerList[1].innerName", "5"),
        ({"someText": "x", "innerList": [{}]}, "innerList[0].innerName", "is missing"),
        ({"someText": "x", "innerList": {}}, "innerList", "must be a list, not an object"),
        ({"someText": "x", "innerList": [{"innerName": "a", "other": 1}]}, "innerList[0].other", "not a known field"),
        ({"someText": "x", "sometext": "x"}, "sometext", "did you mean"),
        ({"someText": "a\0b"}, "someText", "NUL"),
        ({"someText": "x", "env": {"A": "\0"}}, "env.A", "NUL"),
        ({"someText": "x", "env": {"A": "a", "B": 1}}, "env.B", "must be a string, not 1"),
        ({"someText": "x", "": 1}, "", "without a name"),
    ],
)
def test_what_is_wrong_is_named_in_the_clients_own_spelling(body: dict[str, Any], field: str, said: str) -> None:
    error = refused(body)
    assert error.field == field
    assert field in error.message
    assert said in error.message


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is missing"),
        (b"{", "JSON"),
        (b"[]", "must be a JSON object, not a list"),
        (b"null", "must be a JSON object, not null"),
        (b'{"someText": "\xff"}', "UTF-8"),
        (b'{"someText": "\\ud800"}', "JSON"),
        (b'{"someText": NaN}', "JSON"),
        (b"[" * 100_000, "deep"),
        (b'{"innerList":' * 5_000, "deep"),
    ],
)
def test_what_is_no_json_object_is_said_so(raw: bytes, said: str) -> None:
    assert said in refused(raw).message


class Query(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, msgspec.Meta(ge=1)] = 10
    before_id: str | None = None
    wait_seconds: float = 0.0
    pending: bool = False


def asked(query: str, body: bytes = b"") -> Query:
    return query_decoder(Query)(query, body)


def test_a_query_is_read_as_its_fields_want_it() -> None:
    assert asked("") == Query()
    assert asked("limit=3&before_id=7&waitSeconds=1.5&pending=true") == Query(3, "7", 1.5, pending=True)
    assert asked("before_id=a%20b%C3%A9").before_id == "a bé"
    assert asked("before_id=null").before_id == "null"


def test_a_body_on_get_gives_what_the_query_does_not() -> None:
    assert asked("limit=1", b'{"limit": 2, "pending": true}') == Query(1, pending=True)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=0", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%2B1", "limit"),
        ("limit=1_0", "limit"),
        ("limit=" + "9" * 40, "limit"),
        ("limit=1&limit=2", "limit"),
        ("before_id=a&beforeId=b", "beforeId"),
        ("before_id=%00", "before_id"),
        ("=1", ""),
        ("pending=maybe", "pending"),
        ("colour=red", "colour"),
    ],
)
def test_a_bad_query_names_its_parameter(query: str, field: str) -> None:
    with pytest.raises(BadRequest) as error:
        asked(query)
    assert error.value.field == field


def test_the_largest_number_of_the_document_is_a_number() -> None:
    assert asked(f"limit={2**63 - 1}").limit == 2**63 - 1


def test_a_body_on_get_holds_no_nul() -> None:
    with pytest.raises(BadRequest, match="before_id must not contain a NUL"):
        asked("", b'{"before_id": "a\\u0000"}')


def test_a_query_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(BadRequest, match="UTF-8"):
        asked("before_id=%FF")


def test_a_form_is_read_like_a_query_and_its_csrf_field_is_not_its_own() -> None:
    class Form(msgspec.Struct, forbid_unknown_fields=True):
        text: str
        labels: list[str] = []

    assert form_decoder(Form)(b"text=a+b&csrf=x&labels=1&labels=2") == Form("a b", ["1", "2"])
    with pytest.raises(BadRequest, match="text"):
        form_decoder(Form)(b"csrf=x")


def test_a_payload_may_hold_a_nul_and_a_name_beside_it_may_not() -> None:
    read = body_decoder(EventBatch)
    event = '{"n": 1, "type": "agent.message", "payload": {"text": "a\\u0000b"}}'
    assert bytes(read(f'{{"attempt": 1, "lease": "x", "events": [{event}]}}'.encode()).events[0].payload)
    with pytest.raises(BadRequest, match="lease"):
        read(f'{{"attempt": 1, "lease": "x\\u0000", "events": [{event}]}}'.encode())
    with pytest.raises(BadRequest, match="UTF-8"):
        read(b'{"attempt": 1, "lease": "x", "events": [{"n": 1, "type": "agent.message", "payload": {"t": "\xff"}}]}')


def test_the_runner_protocol_takes_both_spellings_and_no_unknown_fields_too() -> None:
    card = {"uid": "u", "name": "n", "os": "linux", "arch": "amd64", "version": "1", "allowed_dirs": ["/a"]}
    assert body_decoder(Register)(json.dumps({**card, "maxPods": 7}).encode()).max_pods == 7
    with pytest.raises(BadRequest, match="gpu"):
        body_decoder(Register)(json.dumps({**card, "gpu": "many"}).encode())


BODIES: list[Callable[[bytes], Any]] = [
    body_decoder(route.body, route.answers) for route in routes() if route.body is not None
]
QUERIES: list[Callable[[str, bytes], Any]] = [
    query_decoder(route.query) for route in routes() if route.query is not None
]
NAMES = sorted({name for route in routes() if route.body for name in names(route.body)})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_decoded_or_refused(value: Any) -> None:
    raw = json.dumps(value).encode()
    for read in BODIES:
        decoded_or_refused(read, raw)


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    for read in BODIES:
        decoded_or_refused(read, raw)
    for ask in QUERIES:
        decoded_or_refused(ask, raw.decode("latin-1"), b"")
        decoded_or_refused(ask, "", raw)


def decoded_or_refused(read: Any, *given_: Any) -> None:
    try:
        read(*given_)
    except BadRequest as error:
        assert error.message  # noqa: PT017 - it may also be decoded
