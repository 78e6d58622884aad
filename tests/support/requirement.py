"""Things of this machine that a test may need. Missing, the test is skipped and says why; `.ci/run` sets
CORRAL_REQUIRE_ALL=1, and there it fails instead."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(why: str) -> NoReturn:
    """Skip the present test, or fail it where everything is required. `why` says what to install."""
    if os.environ.get("CORRAL_REQUIRE_ALL") == "1":
        pytest.fail(f"required here, but missing: {why}", pytrace=False)
    pytest.skip(why)


def claude_binary() -> Path:
    """The Claude Code binary that the SDK's wheel carries."""
    binary = package_folder("claude_agent_sdk", "pip install claude-agent-sdk") / "_bundled" / "claude"
    if not binary.exists():
        missing("the Claude Code binary: claude-agent-sdk has no wheel for this platform")
    return binary


def chromium() -> Path:
    """A Chromium of the system; without windows, where there is one, for a third of the processor time."""
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return Path(path)
    missing("Chromium: apt-get install chromium-headless-shell")


def package_folder(name: str, install: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        missing(f"{name}: {install}")
    return Path(spec.origin).parent
