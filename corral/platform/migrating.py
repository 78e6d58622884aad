"""What migrations need beyond Tortoise's own operations: SQL that differs between the two databases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tortoise.backends.sqlite.client import SqliteClient
from tortoise.migrations.operations import RunSQL
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State


@cache
def shipped() -> frozenset[tuple[str, str]]:
    """Return the migrations that this version of Corral comes with, by sub-package and name."""
    here = Path(__file__).parents[1]
    return frozenset((file.parts[-3], file.stem) for file in here.glob("*/migrations/0*.py"))


class DialectSql(RunSQL):
    """Run the statements of the database at hand; forward only."""

    def __init__(self, *, sqlite: Sequence[str] = (), postgres: Sequence[str] = ()) -> None:
        """Take the statements for each database."""
        super().__init__("")
        self._sqlite, self._postgres = sqlite, postgres

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        """Run them; a plan without an editor only moves the state."""
        del app_label, old_state, new_state
        if state_editor is not None:
            client = state_editor.client
            for statement in self._sqlite if isinstance(client, SqliteClient) else self._postgres:
                await client.execute_query(statement)  # whole: an editor's own way cuts it at each semicolon
