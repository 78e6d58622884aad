"""Requests into structs, at the edge; inside, everything is trusted.

The strict typed decode comes first and costs a few microseconds. Only what it refuses takes the slow way, which allows
both spellings of each field, drops what only answers have, and finds the exact words for what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from corral.base.errors import BadRequest
from corral.web import spelling
from corral.web.spelling import Shape

T = TypeVar("T")

_NUL = b"\\u0000"
_INTEGER = re.compile(r"-?[0-9]{1,18}|[0-9]{19}")
#: Fields of a form that the pipeline reads itself.
_OURS = frozenset({"csrf"})
#: Parameters of a query, or fields of a form: a list may be chosen from.
_FIELDS_MOST = 2000
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request that needs none."""


def body_decoder(type_: type[T], answers: tuple[type, ...] = ()) -> Callable[[bytes], T]:
    """Return the decoder of JSON bodies of this type; fields that only `answers` have are ignored."""
    strict = msgspec.json.Decoder(type_).decode
    ignored = frozenset(name for answer in answers for name in spelling.names(answer))
    has_raw = spelling.has_raw(type_)

    def decode(raw: bytes) -> T:
        try:
            if has_raw:  # the decoder skips over raw parts without looking at their encoding
                raw.decode()
            if _NUL not in raw:
                return strict(raw)
            if has_raw:
                return _without_nul(strict(raw))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        return _slowly(raw or b"{}", type_, ignored)

    return decode


def query_decoder(type_: type[T]) -> Callable[[str, bytes], T]:
    """Return the decoder of a query string and, as one reference has it, a JSON body on GET; the query wins."""
    shape = spelling.shape(type_)

    def decode(query: str, raw: bytes) -> T:
        if not query and not raw:
            return msgspec.convert({}, type_)
        values = _object(raw) if raw else {}
        spelled = spelling.respell(values, shape, frozenset(), "")
        _refuse_nul(spelled.value, "")
        asked = spelling.respell(_pairs(query), shape, frozenset(), "")
        coerced = {name: _coerced(shape, name, value, asked.names[name]) for name, value in asked.value.items()}
        return _converted({**spelled.value, **coerced}, type_, {**spelled.names, **asked.names})

    return decode


def form_decoder(type_: type[T]) -> Callable[[bytes], T]:
    """Return the decoder of a posted form; the CSRF field is the pipeline's own and not part of it."""
    shape = spelling.shape(type_)

    def decode(raw: bytes) -> T:
        spelled = spelling.respell(form_pairs(raw), shape, _OURS, "")
        coerced = {name: _coerced(shape, name, value, name) for name, value in spelled.value.items()}
        return _converted(coerced, type_, spelled.names)

    return decode


def form_pairs(raw: bytes) -> dict[str, str | list[str]]:
    """Return a form's fields; one that comes several times is a list."""
    try:
        return _pairs(raw.decode("ascii"))
    except UnicodeDecodeError as error:
        raise BadRequest("The form is not URL-encoded") from error


def _pairs(text: str) -> dict[str, str | list[str]]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MOST)
    except UnicodeDecodeError as error:
        raise BadRequest("The query is not UTF-8") from error
    except ValueError as error:
        raise BadRequest("The query has too many parameters") from error
    found: dict[str, str | list[str]] = {}
    for name, value in pairs:
        if "\0" in value or "\0" in name:
            raise BadRequest(f"{name.replace(chr(0), '')} must not contain a NUL character", field=name)
        before = found.get(name)
        found[name] = value if before is None else [*([before] if isinstance(before, str) else before), value]
    return found


def _coerced(shape: Shape, name: str, value: Any, spelled: str) -> Any:
    """Read a parameter's text as what its field wants; what does not fit stays text, and is refused as such."""
    wanted = shape.wanted(name)
    if isinstance(value, list):
        if wanted != "list":
            raise BadRequest(f"{spelled} was given more than once", field=spelled)
        return value
    if wanted == "list":
        return [value] if value else []
    if wanted == "int" and _INTEGER.fullmatch(value):
        return int(value)
    if wanted == "float" and _NUMBER.fullmatch(value):
        return float(value)
    if wanted == "bool" and value in {"true", "false", "1", "0", "on"}:
        return value in {"true", "1", "on"}
    return value


def _slowly(raw: bytes, type_: type[T], ignored: frozenset[str]) -> T:
    spelled = spelling.respell(_object(raw), spelling.shape(type_), ignored, "")
    _refuse_nul(spelled.value, "")
    return _converted(spelled.value, type_, spelled.names)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode()
        value = msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8: see byte {error.start}") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply") from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}") from error
    if not isinstance(value, dict):
        raise BadRequest(f"The body must be a JSON object, not {spelling.kind_of(value)}")
    return value


def _refuse_nul(value: Any, path: str) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise BadRequest(f"{path} must not contain a NUL character", field=path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _refuse_nul(name, path or "a field's name")
            _refuse_nul(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_nul(inner, f"{path}[{index}]")


def _without_nul(value: T) -> T:
    """Return a decoded struct, whose raw parts may hold what they like."""
    for name in getattr(value, "__struct_fields__", ()):
        inner = getattr(value, name)
        for part in inner if isinstance(inner, list) else [inner]:
            if isinstance(part, str):
                _refuse_nul(part, name)
            else:
                _without_nul(part)
    return value


def _converted(value: dict[str, Any], type_: type[T], names: dict[str, str]) -> T:
    try:
        # Encoded again rather than converted: raw parts exist in JSON only.
        return msgspec.json.decode(msgspec.json.encode(value), type=type_)
    except msgspec.ValidationError as error:
        raise spelling.explain(error, value, type_, names) from error
    except (msgspec.DecodeError, OverflowError) as error:
        raise BadRequest(f"The body cannot be used: {error}") from error
