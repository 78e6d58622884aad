from __future__ import annotations

import base64
from pathlib import Path

import pytest

from corral.base.errors import BadRequest
from corral.platform.settings import Settings
from corral.secrets import keyring


def test_a_setting_that_is_no_key_is_refused_at_the_start_without_being_shown(tmp_path: Path) -> None:
    for key in ("short", "not base64!", base64.b64encode(b"x" * 31).decode(), "ä" * 44):
        with pytest.raises(BadRequest, match="CORRAL_SECRET_KEY must be the base64 of 32 bytes") as refused:
            keyring.use(Settings(data=tmp_path, secret_key=key))
        assert key not in refused.value.message


def test_settings_do_not_show_the_key(tmp_path: Path) -> None:
    assert "AQEB" not in repr(Settings(data=tmp_path, secret_key="AQEB" * 11))
