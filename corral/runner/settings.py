"""A runner's settings, from its environment and the command's flags; whoever starts one is told what is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from corral.base.env import read, read_number
from corral.base.errors import BadRequest
from corral.base.paths import split_list


@dataclass(frozen=True, slots=True)
class Settings:
    """What a runner process is told at its start."""

    url: str  #: the server, without a slash at its end
    api_key: str = field(repr=False)
    allowed_dirs: tuple[str, ...]  #: absolute, symlinks resolved; nothing runs outside of them
    name: str
    data: Path  #: identity, journal and spool; locked while the runner lives
    labels: tuple[str, ...] = ()
    max_pods: int = 4  #: how many runs at a time
    pass_env: tuple[str, ...] = ()  #: further variables that CLIs get from the runner's environment
    control_fd: int | None = None  #: the end of this pipe means that our parent is gone: interrupt and exit
    log_form: str = "console"
    log_level: str = "info"


def from_env(
    env: Mapping[str, str],
    *,
    url: str | None = None,
    name: str | None = None,
    allowed_dirs: str | None = None,
    data: Path | None = None,
    labels: str | None = None,
    max_pods: int | None = None,
) -> Settings:
    """Build the settings from the environment; the arguments are flags and win. BadRequest says what to set."""
    pods = max_pods if max_pods is not None else read_number(env, "CORRAL_MAX_PODS", 4, least=1)
    if pods < 1:
        raise BadRequest(f"max_pods must be at least 1, not {pods}", field="CORRAL_MAX_PODS")
    return Settings(
        url=_url(url or read(env, "CORRAL_URL")),
        api_key=_api_key(read(env, "CORRAL_API_KEY")),
        allowed_dirs=_allowed_dirs(allowed_dirs or read(env, "ALLOWED_DIRS")),
        name=(name or read(env, "RUNNER_NAME") or platform.node() or "runner")[:100],
        data=_data(data, env),
        labels=tuple(_words(labels if labels is not None else read(env, "CORRAL_LABELS"))),
        max_pods=int(pods),
        pass_env=tuple(_words(read(env, "CORRAL_PASS_ENV"))),
        control_fd=_control_fd(read(env, "CORRAL_PARENT_PIPE")),
        log_form=read(env, "CORRAL_LOG_FORMAT", "console"),
        log_level=read(env, "CORRAL_LOG_LEVEL", "info"),
    )


def _url(text: str) -> str:
    if not text:
        raise BadRequest(
            "CORRAL_URL is not set: it is the server's address, such as https://corral.example.com", field="CORRAL_URL"
        )
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadRequest(f"CORRAL_URL must start with http:// or https://, not {text!r}", field="CORRAL_URL")
    if parts.username or parts.password:
        raise BadRequest("CORRAL_URL must not hold a password; the key belongs in CORRAL_API_KEY", field="CORRAL_URL")
    return text.rstrip("/")


def _api_key(text: str) -> str:
    if not text:
        raise BadRequest(
            "CORRAL_API_KEY is not set: make a key in the console under Settings → API Keys, or with"
            " `corral keys create --runner` (CORRAL_API_KEY_FILE may name a file that holds it)",
            field="CORRAL_API_KEY",
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadRequest("CORRAL_API_KEY holds characters that no key has", field="CORRAL_API_KEY")
    return text


def _allowed_dirs(text: str) -> tuple[str, ...]:
    named = split_list(text, windows=os.name == "nt")
    if not named:
        raise BadRequest(
            "ALLOWED_DIRS is not set: name the directories that agents may work in,"
            " such as ALLOWED_DIRS=~/code,/srv/work",
            field="ALLOWED_DIRS",
        )
    resolved: dict[str, None] = {}
    for one in named:
        path = os.path.realpath(os.path.expanduser(one))  # noqa: PTH111 - realpath, as the check of each run does
        if not os.path.isabs(os.path.expanduser(one)):  # noqa: PTH111, PTH117 - as above
            raise BadRequest(f"ALLOWED_DIRS names {one!r}, which is not an absolute path", field="ALLOWED_DIRS")
        if not Path(path).is_dir():
            raise BadRequest(f"ALLOWED_DIRS names {one}, which is not a directory here", field="ALLOWED_DIRS")
        resolved[path] = None
    return tuple(resolved)


def _data(flag: Path | None, env: Mapping[str, str]) -> Path:
    told = str(flag) if flag is not None else read(env, "CORRAL_DATA")
    return Path(told).expanduser().absolute() if told else Path.home() / ".corral" / "runner"


def _control_fd(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise BadRequest(f"CORRAL_PARENT_PIPE must be a file descriptor, not {text!r}", field="CORRAL_PARENT_PIPE")
    return int(text)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
