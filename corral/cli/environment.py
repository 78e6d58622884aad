"""The environment `corral up` gives its runner: what agents may see, the runner's own settings, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corral.base.env import read
from corral.runner.environment import scrub

#: A runner's settings that the shell of `corral up` may hold.
_SETTINGS = (
    "ALLOWED_DIRS",
    "RUNNER_NAME",
    "CORRAL_LABELS",
    "CORRAL_MAX_PODS",
    "CORRAL_PASS_ENV",
    "CORRAL_LOG_FORMAT",
    "CORRAL_LOG_LEVEL",
    "CORRAL_DEBUG",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
)


def for_runner(env: Mapping[str, str], *, url: str, key_file: Path, data: Path, cwd: Path) -> dict[str, str]:
    """Return the child runner's environment. It may work in `cwd` unless `ALLOWED_DIRS` says otherwise."""
    pass_env = [name.strip() for name in read(env, "CORRAL_PASS_ENV").split(",") if name.strip()]
    return {
        **scrub(env, pass_env),
        "ALLOWED_DIRS": str(cwd),
        **{name: env[name] for name in _SETTINGS if env.get(name)},
        "CORRAL_URL": url,
        "CORRAL_API_KEY_FILE": str(key_file),
        "CORRAL_DATA": str(data),
    }
