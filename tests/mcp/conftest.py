"""An empty, migrated database of either kind."""

from __future__ import annotations

from tests.platform.conftest import settings

__all__ = ["settings"]
