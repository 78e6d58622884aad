"""`corral sign-in`: a fresh way into the console, for oneself over HTTP, for anybody from the server's machine."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from corral.cli import options
from corral.cli.connect import connected
from corral.cli.datadir import DataDir, default_path
from corral.cli.errors import Unreachable
from corral.cli.terminal import stderr, stdout


def sign_in(
    of: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="EMAIL",
            help="Whose link to make. Works on the server's machine only, by its database; then they may set a "
            "password without the one before.",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Print a link that signs you in to the console, once, within the hour."""
    if of is None:
        with connected(data, live=True) as client:
            link = client.post("/api/v1/sign-in-links")
    else:
        link = asyncio.run(_made(of, (data or default_path(os.environ)).absolute()))
    if as_json:
        stdout().json(link)
        return
    stdout().line(link["url"])
    stderr().line("It works once.", "dim")


async def _made(email: str, data: Path) -> dict[str, str]:
    """Write a link into the database: whoever may do that is the operator, whatever has become of their keys."""
    from corral.platform import acting, database
    from corral.platform import sign_in as sign_ins
    from corral.platform.settings import from_env
    from corral.runs.frames import moment

    directory = DataDir(data)
    settings = from_env(os.environ, data=data)
    if settings.is_embedded and not (data / "corral.db").exists():
        raise Unreachable(
            f"There is no database of Corral in {data}", hint="Run this on the server's machine, with its settings."
        )
    if not settings.public_url and (running := directory.server()) is not None:
        settings = dataclasses.replace(settings, public_url=running.url)
    await database.connect(settings)
    try:
        with acting.as_(acting.OPERATOR):
            link = await sign_ins.make_link_for(email)
    finally:
        await database.disconnect()
    return {"url": link.url(settings), "expiresAt": moment(link.expires_at)}
