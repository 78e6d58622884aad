"""A runner process whose worker is the scripted one: `python start.py`, with a runner's environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from corral.runner.main import main
from corral.runner.settings import from_env
from corral.wire.runs import Engine

WORKER = {Engine.CLAUDE_CODE: (sys.executable, str(Path(__file__).with_name("fake_worker.py")))}

if __name__ == "__main__":
    sys.exit(main(from_env(os.environ), WORKER))
