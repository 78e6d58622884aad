"""Options that several commands share, so that each has one name and one explanation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corral.cli import complete

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data directory whose server to use.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Watch the log until the run ends; ^C leaves the run going.")
]
RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id, or enough of its beginning or end.")]
Agent = Annotated[
    str,
    typer.Argument(
        metavar="AGENT",
        help="The agent's name, or enough of its id.",
        autocompletion=complete.agents,
        show_default=False,
    ),
]
TaskId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The task's id, or enough of its beginning or end.", autocompletion=complete.tasks
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")]
