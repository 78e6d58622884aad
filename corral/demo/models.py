"""The list of models, in a shape that the clients of each face understand."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec
from sanic import HTTPResponse, Request

#: what is listed as available; any other name is answered as well
MODELS = ("claude-opus-5-5", "claude-sonnet-5", "claude-haiku-4-5", "gpt-5.5", "gpt-5.6-terra")


async def models(request: Request) -> HTTPResponse:
    """All of them."""
    page = {"object": "list", "data": [_model(name) for name in MODELS], "has_more": False}
    return _json(page | {"first_id": MODELS[0], "last_id": MODELS[-1]})


async def model(request: Request, name: str) -> HTTPResponse:
    """The one with this name."""
    return _json(_model(unquote(name)))


def _model(name: str) -> dict[str, object]:
    anthropic = {"type": "model", "display_name": f"{name} (scripted)", "created_at": "2026-01-01T00:00:00Z"}
    openai = {"object": "model", "owned_by": "corral", "created": 1_767_225_600}
    return {"id": name, **anthropic, **openai}


def _json(value: object) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode(value), content_type="application/json")
