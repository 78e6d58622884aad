"""Fields by either of their spellings, and words for what is wrong with them, in the spelling the client used."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from corral.base.errors import BadRequest

_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
    "date": "a date like 2030-12-31",
    "datetime": "a time like 2030-12-31T00:00:00Z",
}
_ERROR = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `(?P<want>[^`]+)`, got `(?P<got>[^`]+)`")
_LENGTH = re.compile(r"Expected `(?P<want>[^`]+)` of length (?P<how>[<>=]+) (?P<n>\d+)")
_BOUND = re.compile(r"Expected `(?P<want>[^`]+)` (?P<how>[<>]=?) (?P<n>[-\d.]+)")
_NOT_BLANK = r"matching regex '\\S'"
#: Patterns in words, where people type what they are of.
_PATTERNS = {
    "^[A-Z][A-Z0-9_]*$": "must be capital letters, digits and underscores, as GITHUB_TOKEN",
    "^[a-zA-Z0-9_-]{1,64}$": "must be 1 to 64 letters, digits, _ and -",
    r"^\\d{4}-\\d{2}$": "must be a month, as 2026-11",
}
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]+)`")


class Spelled(NamedTuple):
    """An object with its fields in the struct's own spelling, and how the client spelled them."""

    value: dict[str, Any]
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """A struct's fields, by every spelling."""

    type: type
    by_name: dict[str, msgspec.structs.FieldInfo]

    @property
    def strict(self) -> bool:
        """Whether unknown fields are refused; between a server and a runner of different ages they are not."""
        return bool(self.type.__struct_config__.forbid_unknown_fields)  # type: ignore[attr-defined]

    def field(self, name: str) -> msgspec.structs.FieldInfo | None:
        """Return the field of this name in either spelling."""
        return self.by_name.get(name)

    def wanted(self, name: str) -> str:
        """Return what a field holds: str, int, float, bool or list."""
        field = self.by_name[name]
        plain = [_stripped(part) for part in _alternatives(field.type)]
        for kind in (bool, int, float):
            if kind in plain and str not in plain:
                return kind.__name__
        return "list" if any(get_origin(part) is list or part is list for part in plain) else "str"


def shape(type_: Any) -> Shape:
    """Return the shape of a struct type."""
    return _shape(type_)


@cache
def _shape(type_: type) -> Shape:
    by_name = {}
    for field in msgspec.structs.fields(type_):
        for name in (field.encode_name, snake(field.encode_name), camel(field.encode_name), field.name):
            by_name[name] = field
    return Shape(type_, by_name)


def names(type_: type) -> Iterator[str]:
    """Yield every spelling of every field of a struct type."""
    if _is_struct(type_):
        yield from shape(type_).by_name


def respell(value: dict[str, Any], wanted: Shape, ignored: frozenset[str], path: str) -> Spelled:
    """Give the fields of `value` the struct's own spelling. Raises BadRequest for an unknown one, or both."""
    result: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for name, inner in value.items():
        field = wanted.field(name)
        if field is None:
            if name in ignored or not wanted.strict:
                continue
            raise BadRequest(_unknown(f"{path}{name}", name, wanted), field=f"{path}{name}")
        own = field.encode_name
        if own in result:
            raise BadRequest(
                f"{path}{name} and {path}{spelled[own]} are two spellings of one field; send one of them",
                field=f"{path}{name}",
            )
        spelled[own] = name
        result[own] = _respelled(inner, field.type, f"{path}{name}", spelled)
    return Spelled(result, spelled)


def explain(error: msgspec.ValidationError, value: object, type_: Any, spelled: dict[str, str]) -> BadRequest:
    """Say which field is wrong and what is wrong with it, for a person."""
    match = _ERROR.fullmatch(str(error))
    what, path = (match["what"], match["path"] or "$") if match else (str(error), "$")
    steps = [(name, index) for name, index in _STEP.findall(path)]
    field, at, here = _walk(type_, value, steps, spelled)
    for pattern, said in ((_MISSING, "is missing"), (_UNKNOWN, "is not a known field")):
        if found := pattern.match(what):
            name = f"{field}.{found['name']}".removeprefix(".")
            return BadRequest(f"{name} {said}", field=name)
    return BadRequest(f"{field or 'The body'} {_reason(what, at, here)}", field=field or None)


def kind_of(value: object) -> str:
    """Return what a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def camel(name: str) -> str:
    """`permission_mode` → `permissionMode`."""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def snake(name: str) -> str:
    """`permissionMode` → `permission_mode`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)


def has_raw(type_: Any) -> bool:
    """Tell whether a struct keeps parts of its JSON as they came."""
    return any(
        part is msgspec.Raw or (_is_struct(part) and has_raw(part))
        for field in msgspec.structs.fields(type_)
        for part in _parts(field.type)
    )


def _respelled(value: Any, type_: Any, path: str, spelled: dict[str, str]) -> Any:
    for part in _alternatives(type_):
        if _is_struct(part) and isinstance(value, dict):
            inner = respell(value, shape(part), frozenset(), f"{path}.")
            spelled.update({own: name for own, name in inner.names.items() if own not in spelled})
            return inner.value
        if get_origin(part) is list and isinstance(value, list):
            (item,) = get_args(part)
            return [_respelled(one, item, f"{path}[{index}]", spelled) for index, one in enumerate(value)]
    return value


def _unknown(full: str, name: str, wanted: Shape) -> str:
    full = full or "A field without a name"
    close = get_close_matches(name, wanted.by_name, n=1)
    known = ", ".join(field.encode_name for field in msgspec.structs.fields(wanted.type)) or "none"
    return (
        f"{full} is not a known field; did you mean {close[0]}?" if close else f"{full} is not a known field ({known})"
    )


def _reason(what: str, type_: Any, value: object) -> str:
    choices = [str(choice) for choice in _choices(type_)]
    if choices and not isinstance(value, (int, float, dict, list)):
        return f"must be one of {', '.join(choices)}, not {_shown(value)}"
    if found := _EXPECTED.match(what):
        wants = [_WORDS.get(want.strip(), want.strip()) for want in found["want"].split("|")]
        return f"must be {' or '.join(wants)}, not {_shown(value)}"
    if found := _LENGTH.match(what):
        unit = "characters long" if found["want"] == "str" else "entries long"
        if found["how"] == ">=" and found["n"] == "1":
            return "must not be empty"
        return f"must be at {'most' if '<' in found['how'] else 'least'} {found['n']} {unit}"
    if what.endswith(_NOT_BLANK):
        return "must not be blank"
    if found := _BOUND.match(what):
        word = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}[found["how"]]
        return f"must be {word} {found['n'].removesuffix('.0')}, not {_shown(value)}"
    if "matching regex" in what:
        pattern = what.partition("regex ")[2].strip("'")
        return f"{_PATTERNS.get(pattern, f'must match {pattern}')}, not {_shown(value)}"
    return f"is not valid: {what}"


def _shown(value: object) -> str:
    match value:
        case str():
            return repr(value if len(value) <= 40 else value[:40] + "…")
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)[:40]
        case _:
            return kind_of(value)


def _walk(type_: Any, value: Any, steps: list[tuple[str, str]], spelled: dict[str, str]) -> tuple[str, Any, Any]:
    """Return the client's name, the type and, where it can be found, the value at a path of msgspec's."""
    field = ""
    for name, index in steps:
        parts = [_stripped(part) for part in _alternatives(type_)]
        if name:
            structs = [part for part in parts if _is_struct(part)]
            found = shape(structs[0]).field(name) if structs else None
            type_ = found.type if found else Any
            value = value.get(name) if isinstance(value, dict) else None
            field += f".{spelled.get(name, name)}"
            continue
        lists = [part for part in parts if get_origin(part) in {list, dict}]
        type_ = get_args(lists[0])[-1] if lists else Any
        if isinstance(value, dict):  # msgspec does not say where in it
            key, value = next((pair for pair in value.items() if not _fits(pair[1], type_)), ("...", None))
            field += f".{key}"
        else:
            value = value[int(index)] if isinstance(value, list) and index.isdigit() else None
            field += f"[{index}]"
    return field.removeprefix("."), type_, value


def _fits(value: Any, type_: Any) -> bool:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError:
        return False
    return True


def _choices(type_: Any) -> list[Any]:
    found: list[Any] = []
    for part in _alternatives(type_):
        plain = _stripped(part)
        if isinstance(plain, type) and issubclass(plain, Enum):
            found += [member.value for member in plain]
        elif get_origin(plain) is Literal:
            found += get_args(plain)
    return found


def _parts(type_: Any) -> Iterator[Any]:
    for part in _alternatives(type_):
        plain = _stripped(part)
        if get_origin(plain) in {list, dict}:
            for inner in get_args(plain):
                yield from _parts(inner)
        else:
            yield plain


def _alternatives(type_: Any) -> list[Any]:
    plain = _stripped(type_)
    if get_origin(plain) in {Union, types.UnionType}:
        return [inner for part in get_args(plain) for inner in _alternatives(part)]
    return [plain]


def _stripped(type_: Any) -> Any:
    while get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    return type_


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)
