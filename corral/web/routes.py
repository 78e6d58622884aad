"""The route table: each handler declared once, with all that registration, access, decoding and OpenAPI need to know.

    route = Routes("runs")

    @route.post("/api/v1/runs", scope="runs:write", status=201)
    async def launch(call: Call, body: LaunchRun) -> RunView: ...

A parameter named `body`, `query` or `form` is decoded into its struct; the others are parts of the path. What a handler
returns is encoded as its annotation says; None is an empty answer, and an `Answer` is sent as it is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack, get_type_hints

import msgspec

from corral.platform.access import CALL_TOOLS, SCOPES, Role
from corral.platform.plans import FEATURES
from corral.web import answers
from corral.web.decode import Nothing

Handler = Callable[..., Awaitable[Any]]

#: Bytes of a request's body, unless its route says otherwise.
BODY_MOST = 2 * 1024 * 1024

_PARAMETER = re.compile(r"<([a-z_]+)>")


class Extras(TypedDict, total=False):
    """What a route may say beyond its method and path."""

    scope: str  #: what the caller must hold; left out only by open routes, and those for anybody
    role: Role  #: what the caller must be at least
    status: int  #: of a success
    open: bool  #: needs no token
    operators: bool  #: for those alone who run the servers: the first org, or who sends their token
    anybody: bool  #: needs no scope: every key and person may
    person: bool  #: only who is signed in may: no key has what it is about
    feature: str  #: what the org's plan must include
    counted: bool  #: against the key's requests a minute
    repeatable: bool  #: takes an Idempotency-Key
    secret: bool  #: its answer holds a key or a link, and is not kept for repeats
    content: str  #: type of its answer
    csv: bool  #: answers a table to who asks for text/csv
    answers: tuple[type, ...]  #: structs whose fields are ignored when a client sends them back
    most: int  #: bytes of a body
    also: tuple[int, ...]  #: statuses beyond the usual ones, for the documentation
    hidden: bool  #: a page or an asset: not part of the documented API
    answer: Any  #: type of its answer, where the handler returns it encoded


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table."""

    method: str
    path: str
    handler: Handler
    name: str  #: its own in the table, and its operation's in the documentation
    tag: str
    scope: str | None
    role: Role
    feature: str | None
    status: int
    open: bool
    person: bool
    operators: bool
    counted: bool
    repeatable: bool
    secret: bool
    content: str
    csv: bool
    answers: tuple[type, ...]
    most: int
    also: tuple[int, ...]
    hidden: bool
    body: type | None
    query: type | None
    form: type | None
    answer: Any  #: what the handler's annotation says it returns

    @property
    def parameters(self) -> list[str]:
        """The names in its path."""
        return _PARAMETER.findall(self.path)

    @property
    def methods(self) -> list[str]:
        """What it is registered for: a GET answers HEAD as well."""
        return ["GET", "HEAD"] if self.method == "GET" else [self.method]


class Routes:
    """The routes of one file."""

    def __init__(self, tag: str, *, hidden: bool = False, content: str = answers.JSON) -> None:
        """Take the name that groups them in the documentation, and what is the same for all of them."""
        self.tag = tag
        self.all: list[Route] = []
        self.hidden = hidden
        self.content = content

    def get(self, path: str, **extras: Unpack[Extras]) -> Callable[[Handler], Handler]:
        """Declare a handler that only reads."""
        return self._declare("GET", path, extras)

    def post(self, path: str, **extras: Unpack[Extras]) -> Callable[[Handler], Handler]:
        """Declare a handler that makes or does something; it takes an Idempotency-Key."""
        return self._declare("POST", path, {"repeatable": True, **extras})

    def patch(self, path: str, **extras: Unpack[Extras]) -> Callable[[Handler], Handler]:
        """Declare a handler that changes some fields."""
        return self._declare("PATCH", path, extras)

    def put(self, path: str, **extras: Unpack[Extras]) -> Callable[[Handler], Handler]:
        """Declare a handler that sets something as a whole."""
        return self._declare("PUT", path, extras)

    def delete(self, path: str, **extras: Unpack[Extras]) -> Callable[[Handler], Handler]:
        """Declare a handler that ends something."""
        return self._declare("DELETE", path, extras)

    def also_put(self) -> None:
        """Let PUT do what PATCH does, for the reference that calls a partial update so."""
        self.all += [replace(r, method="PUT", name=f"{r.name}_by_put") for r in self.all if r.method == "PATCH"]

    def also_under(self, root: str, suffix: str) -> None:
        """Declare everything once more below another root."""
        self.all += [replace(route, path=root + route.path, name=f"{route.name}_{suffix}") for route in self.all]

    def _declare(self, method: str, path: str, extras: Extras) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            self.all.append(_route(self, method, path, handler, extras))
            return handler

        return declare


class Table:
    """All routes of a server, by path: what a path allows is known here, not in the HTTP server."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Take the routes; two of one method and path are a mistake."""
        self.routes = list(routes)
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        self._methods: dict[str, list[str]] = {}
        self._open: set[str] = set()
        for route in self.routes:
            methods = self._methods.setdefault(route.path, [])
            assert route.method not in methods, f"{route.method} {route.path} is declared twice"
            methods += route.methods
            if route.open:
                self._open.add(route.path)
        # Paths without parameters first: `/runners/available` is not the runner named available.
        for path in sorted(self._methods, key=lambda path: (path.count("<"), path)):
            self._patterns.append((re.compile(_PARAMETER.sub("[^/]+", path) + "/?"), path))

    def allowed(self, path: str) -> list[str]:
        """Return the methods that a concrete path takes; none if there is no such path."""
        found = self._find(path)
        return sorted([*self._methods[found], "OPTIONS"]) if found else []

    def is_open(self, path: str) -> bool:
        """Tell whether a concrete path is open without a token."""
        return self._find(path) in self._open

    def _find(self, path: str) -> str | None:
        return next((declared for pattern, declared in self._patterns if pattern.fullmatch(path)), None)


def _route(routes: Routes, method: str, path: str, handler: Handler, extras: Extras) -> Route:
    hints = get_type_hints(handler)
    parameters = set(inspect.signature(handler).parameters) - {"call", "body", "query", "form"}
    assert parameters == set(_PARAMETER.findall(path)), f"{handler.__name__} takes {parameters}, {path} has others"
    is_open, scope = extras.get("open", False), extras.get("scope")
    is_free = is_open or extras.get("anybody", False)
    assert is_free or scope in {*SCOPES, CALL_TOOLS, "*"}, f"{handler.__name__} declares no known scope and is not open"
    feature = extras.get("feature")
    assert feature is None or feature in FEATURES, f"{handler.__name__} asks for a feature that no plan knows"
    hidden = extras.get("hidden", routes.hidden)
    answer: Any = extras.get("answer", hints.get("return"))
    body = hints.get("body")
    return Route(
        method=method,
        path=path,
        handler=handler,
        name=handler.__name__,
        tag=routes.tag,
        scope=scope,
        role=extras.get("role", Role.VIEWER),
        feature=feature,
        status=extras.get("status", 200),
        open=is_open,
        person=extras.get("person", False),
        operators=extras.get("operators", False),
        counted=extras.get("counted", not is_open),
        repeatable=extras.get("repeatable", False) and not is_open,
        secret=extras.get("secret", False),
        content=extras.get("content", routes.content),
        csv=extras.get("csv", False),
        answers=(*extras.get("answers", ()), *((answer,) if _is_struct(answer) else ())),
        most=extras.get("most", BODY_MOST),
        also=extras.get("also", ()),
        hidden=hidden,
        body=body or (Nothing if method != "GET" and "form" not in hints else None),
        query=hints.get("query") or (None if is_open or hidden else Nothing),
        form=hints.get("form"),
        answer=answer,
    )


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)
