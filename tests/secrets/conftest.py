"""A vault in an empty, migrated database, of either kind."""

from __future__ import annotations

import pytest

from corral.platform.settings import Settings
from corral.secrets import keyring
from tests.platform.conftest import settings

__all__ = ["opened", "settings"]


@pytest.fixture
def opened(settings: Settings) -> None:
    keyring.use(settings)
