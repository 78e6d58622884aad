"""`corral sign-in`: a fresh way into the console."""

from __future__ import annotations

from corral.cli import options
from corral.cli.connect import connected
from corral.cli.terminal import stderr, stdout


def sign_in(as_json: options.Json = False, data: options.Data = None) -> None:
    """Print a link that signs you in to the console, once, within the hour."""
    with connected(data, live=True) as client:
        link = client.post("/api/v1/sign-in-links")
    if as_json:
        stdout().json(link)
        return
    stdout().line(link["url"])
    stderr().line("It works once.", "dim")
