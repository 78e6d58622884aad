"""Reading a reference's own text: its curl lines become requests, its JSON examples become shapes to compare with."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.http import Api

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UUIDV7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass
class Request:
    """What a curl line of a reference says."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None

    def send(self, api: Api) -> httpx.Response:
        """Send it, changed only in host and token."""
        headers = {**self.headers, "Authorization": f"Bearer {api.key}"}
        return api.client.request(self.method, self.path, headers=headers, content=self.body)


def curl(text: str, **replaced: str) -> Request:
    """Read a curl line; `replaced` are the ids and directories that a reader of the reference would change."""
    words = shlex.split(text.replace("\\\n", " "))
    assert words[0] == "curl"
    method, url, headers, body = "GET", "", {}, None
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(rest)
        else:
            url = word
    for old, new in replaced.items():
        url = url.replace(old, new)
    path = re.sub(r"^https://your-host", "", url)
    return Request(method, path, headers, body.encode() if body is not None else None)


def assert_shape(answer: Any, example: str | Any, at: str = "answer", *, nullable: tuple[str, ...] = ()) -> None:
    """Hold that `answer` has every field of the reference's `example`, each of the same JSON type."""
    wanted = json.loads(example) if isinstance(example, str) and at == "answer" else example
    if isinstance(wanted, dict):
        assert isinstance(answer, dict), f"{at} is {answer!r}, not an object"
        for name, value in wanted.items():
            assert name in answer, f"{at} has no {name!r}: {sorted(answer)}"
            if not (answer[name] is None and (name in nullable or value is None)):
                assert_shape(answer[name], value, f"{at}.{name}", nullable=nullable)
    elif isinstance(wanted, list):
        assert isinstance(answer, list), f"{at} is {answer!r}, not a list"
        for index, item in enumerate(answer):
            if wanted:
                assert_shape(item, wanted[0], f"{at}[{index}]", nullable=nullable)
    elif wanted is not None:
        kinds = (int, float) if isinstance(wanted, float) else type(wanted)
        assert isinstance(answer, kinds), f"{at} is {answer!r}, not like {wanted!r}"
        assert isinstance(answer, bool) == isinstance(wanted, bool), f"{at} is {answer!r}, not like {wanted!r}"
        if isinstance(wanted, str) and RFC3339.fullmatch(wanted):
            assert RFC3339.fullmatch(str(answer)), f"{at} is {answer!r}, not a time like {wanted}"
