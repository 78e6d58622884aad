"""An org with agents, tasks and epics, on each of the two databases."""

from __future__ import annotations

from tests.agents.conftest import office

__all__ = ["office"]
