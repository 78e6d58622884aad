"""`python -m corral.runner`: the daemon alone, as lean as it gets. `corral runner` is the same with flags."""

from __future__ import annotations

import os
import sys


def start() -> int:
    """Read the environment and run."""
    # httpx and structlog draw with rich where it is installed: 8 MB and 0.3 s that a daemon has no use for.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from corral.base.errors import CorralError
    from corral.runner.main import EXIT_NOT_WELCOME, main
    from corral.runner.settings import from_env

    try:
        settings = from_env(os.environ)
    except CorralError as error:
        print(f"corral runner: {error.message}", file=sys.stderr)  # noqa: T201 - before logs are set up
        return EXIT_NOT_WELCOME
    return main(settings)


if __name__ == "__main__":
    sys.exit(start())
