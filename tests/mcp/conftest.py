"""An empty, migrated database of either kind."""

from __future__ import annotations

from tests.platform.conftest import migrated_sqlite, settings

__all__ = ["migrated_sqlite", "settings"]
