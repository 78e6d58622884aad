"""`python -m bench.bare`: a list as a plain Sanic and Tortoise handler writes it, on Corral's own database.

A bearer check, one query through the model, one JSON. It knows no orgs, keys, scopes, filters or reasons.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import signal
from hashlib import sha256
from pathlib import Path
from typing import Any

import uvloop
from sanic import HTTPResponse, Request, Sanic
from sanic.response import json
from tortoise import Tortoise

from corral.platform import database
from corral.platform.settings import Settings

#: What is not shown, or is no JSON.
_HIDDEN = frozenset({"hash", "password", "sealed"})


def application(key: str) -> Sanic[Any, Any]:
    """Return the whole server."""
    app = Sanic("bare", configure_logging=False)
    app.config.ACCESS_LOG = False
    wanted = sha256(key.encode()).digest()

    tables = {model._meta.db_table: model for app in (Tortoise.apps or {}).values() for model in app.values()}  # noqa: SLF001
    columns = {
        table: [name for name in model._meta.fields_map if name not in _HIDDEN]  # noqa: SLF001
        for table, model in tables.items()
    }

    @app.get("/<table>")
    async def rows(request: Request, table: str) -> HTTPResponse:
        """Answer the newest rows of the first org, with as many of their columns as are asked for."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sha256(token.encode()).digest(), wanted):
            return json({"error": "no such key"}, status=401)
        model = tables[table]
        newest = f"-{model._meta.pk_attr}"  # noqa: SLF001
        found = await model.filter(org_id=1).order_by(newest).limit(int(request.args.get("limit", "50")))
        shown = columns[table][: int(request.args.get("fields", "99"))]
        return json([{name: getattr(row, name) for name in shown} for row in found])

    return app


async def serve(options: argparse.Namespace) -> None:
    settings = Settings(data=options.data, database_url=options.database)
    await Tortoise.init(config=database.config(settings), _enable_global_fallback=True)
    app = application(os.environ["BENCH_KEY"])
    server = await app.create_server("127.0.0.1", options.port, return_asyncio_server=True, backlog=2048)
    assert server is not None
    await server.startup()  # type: ignore[no-untyped-call]
    await server.before_start()  # type: ignore[no-untyped-call]
    await server.start_serving()  # type: ignore[no-untyped-call]
    await server.after_start()  # type: ignore[no-untyped-call]
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("listening", flush=True)
    await stopped.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True, help="the data directory of a Corral server")
    parser.add_argument("--database", default="", help="its postgres:// URL, if it has one")
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args()))
