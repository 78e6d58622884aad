"""OpenAPI 3.1, from the same types that requests are decoded and answers encoded with."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

import corral
from corral.platform.access import SCOPES
from corral.web import answers, errors, spelling
from corral.web.cookies import COOKIE
from corral.web.decode import Nothing
from corral.web.routes import Route, Table

_REF = "#/components/schemas/{name}"
_ID = {"type": "string", "minLength": 1}


class CodedError(msgspec.Struct):
    """What went wrong, with a code for programs."""

    code: str
    message: str


class CodedErrorBody(msgspec.Struct):
    """An error under `/api/v1` and `/runners`."""

    error: CodedError


class PlainErrorBody(msgspec.Struct):
    """An error under the other roots."""

    error: str


_SAID = {
    204: "There is nothing to tell; of a stream: nothing newer, and nothing will follow.",
    400: "The request is not valid; the message names the field.",
    401: "The key or the session is missing or unknown.",
    403: "The key lacks the scope, the person the role, or the org's plan the room or the feature, that is named.",
    404: "There is no such thing in this org.",
    409: "The thing is not in a state that allows this, or the name is taken.",
    413: "The body is too large.",
    429: "The key has used up its requests of this minute.",
    500: "Something went wrong on the server; the answer names the request.",
    503: "The database is away for the moment.",
}


@cache
def encoded(table: Table) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(document(table))


def document(table: Table) -> dict[str, Any]:
    """Return the document of every route that is not a page."""
    routes = [route for route in table.routes if not route.hidden]
    types = [*_types(routes), CodedErrorBody, PlainErrorBody]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF, schema_hook=_raw)
    by_type = dict(zip([str(type_) for type_ in types], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = re.sub(r"<([a-z_]+)>", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Corral",
            "version": corral.__version__,
            "summary": "Run a team of coding agents across your machines.",
            "description": (
                "Requests take every field in snake_case or camelCase; answers use the case shown here. "
                "Scopes: " + ", ".join(SCOPES) + ", or * for all."
            ),
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"session": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, crl_live_…"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": f"A session of the console; over TLS the cookie is called __Host-{COOKIE}",
                },
            },
        },
    }


def _operation(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    lines = (route.handler.__doc__ or "").strip().splitlines()
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": lines[0] if lines else route.name,
        "parameters": _parameters(route, by_type),
        "responses": _responses(route, by_type),
    }
    if route.open:
        operation["security"] = []
    else:
        operation["description"] = f"Scope: `{route.scope}`." if route.scope else "Scope: none; any key may."
    if route.body is not None and route.body is not Nothing:
        operation["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(route.body)),
            "content": {answers.JSON: {"schema": by_type[str(route.body)]}},
        }
    return operation


def _parameters(route: Route, by_type: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _ID} for name in route.parameters
    ]
    if route.query is not None:
        _, components = msgspec.json.schema_components([route.query], ref_template=_REF)
        properties = components.get(route.query.__name__, {}).get("properties", {})
        for name, schema in properties.items():
            found.append({"name": name, "in": "query", "required": False, "schema": _plain(schema, components)})
    if route.repeatable:
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": schema,
                "description": "The same key and body within 24 h get the same answer.",
            }
        )
    return found


def _plain(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out rather than null, and has its words right here."""
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    kept = {name: value for name, value in schema.items() if name != "default" or value is not None}
    options = [option for option in kept.pop("anyOf", []) if option != {"type": "null"}]
    if "enum" in kept:
        kept["enum"] = [value for value in kept["enum"] if value is not None]
    if len(options) == 1:
        return {**kept, **_plain(options[0], components)}
    return {**kept, "anyOf": options} if options else kept


def _responses(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done."}
    if route.status == 204:
        pass  # nothing to tell
    elif route.content == answers.JSON:
        answer["content"] = {answers.JSON: {"schema": by_type[str(route.answer)]}}
        if route.csv:
            answer["content"]["text/csv"] = {"schema": {"type": "string"}}
    elif route.content == answers.EVENTS:
        answer["content"] = {route.content: {}}  # OpenAPI 3.1 has no words for the messages of a stream
    else:
        answer["content"] = {route.content: {"schema": {"type": "string"}}}
    found: dict[str, Any] = {str(route.status): answer}
    if route.repeatable:
        answer["headers"] = {
            "Idempotency-Replayed": {"schema": {"type": "string"}, "description": "This was answered before."}
        }
    for status in sorted({*_failures(route), *route.also}):
        found[str(status)] = _failure(route, status)
    return found


def _failures(route: Route) -> set[int]:
    found = {500, 503}
    if not route.open:
        found |= {400, 401, 403, 413}
    if route.counted:
        found.add(429)
    if route.parameters:
        found.add(404)
    if route.repeatable:
        found.add(409)
    return found


def _failure(route: Route, status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _SAID[status]}
    if status == 204:
        return answer
    shape = errors.shape_of(route.path)
    name = "CodedErrorBody" if shape == "coded" else "PlainErrorBody"
    answer["content"] = {answers.JSON: {"schema": {"$ref": _REF.format(name=name)}}}
    if shape == "bare":
        answer["content"]["text/plain"] = {"schema": {"type": "string"}}
    if status in {429, 503}:
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return answer


def _types(routes: list[Route]) -> list[Any]:
    found: dict[str, Any] = {}
    for route in routes:
        for type_ in (route.body, route.answer if route.content == answers.JSON else None):
            if type_ is not None and type_ is not Nothing:
                found[str(type_)] = type_
    return list(found.values())


def _raw(type_: Any) -> dict[str, Any]:
    if type_ is msgspec.Raw:
        return {"type": "object"}
    raise NotImplementedError(f"{spelling.__name__} cannot describe {type_}")
