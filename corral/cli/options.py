"""Options that several commands share, so that each has one name and one explanation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data directory whose server to use.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Watch the log until the run ends; ^C leaves the run going.")
]
RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id, or enough of its beginning or end.")]
