"""Which agent CLIs this machine has, and whether each is signed in. Asks files and versions, never for keys."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from corral.base.logs import get_logger
from corral.runner import transcripts
from corral.wire.runner import Cli
from corral.wire.runs import Engine

VERSION_SECONDS = 5.0
#: All of them together: a registration does not wait longer.
DETECT_SECONDS = 6.0

Environment = Mapping[str, str]

log = get_logger()


async def detect(env: Environment) -> list[Cli]:
    """Return the CLIs found with the environment that they would get; one that does not answer in time is left out."""
    tasks = [asyncio.create_task(asyncio.to_thread(look, env)) for look in (_claude, _codex, _openclaw)]
    done, late = await asyncio.wait(tasks, timeout=DETECT_SECONDS)
    for task in late:
        task.cancel()
    found = []
    for task in tasks:
        if task in done and (error := task.exception()) is not None:
            log.warning("could not look for a CLI", error=repr(error))
        elif task in done and (cli := task.result()) is not None:
            found.append(cli)
    return found


def _claude(env: Environment) -> Cli | None:
    package = importlib.util.find_spec("claude_agent_sdk")  # found, not imported: that costs 68 MB
    if package is None or not package.submodule_search_locations:
        if shutil.which("claude", path=env.get("PATH")):
            log.warning("claude is here, but not what drives it: pip install 'corral[claude]'")
        return None
    folder = Path(next(iter(package.submodule_search_locations)))
    bundled, command = folder / "_bundled" / "claude", "claude"
    if bundled.is_file():
        if shutil.which(command, path=env.get("PATH")) is None:
            command = str(bundled)
        version = _search(r'__cli_version__ = "([^"]+)"', _text(folder / "_cli_version.py"))
    else:
        version = _version("claude", env) or ""
        if not version:
            return None
    signed_in, detail = _claude_sign_in(env, command)
    return Cli(Engine.CLAUDE_CODE, version, signed_in, detail)


def _claude_sign_in(env: Environment, command: str) -> tuple[bool, str]:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"):
        if env.get(name):
            return True, f"by {name}"
    for name in ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"):
        if env.get(name):
            return True, f"by the cloud of {name}"
    folder = transcripts.home(env)
    if (folder / ".credentials.json").is_file():
        return True, f"by {folder / '.credentials.json'}"
    for config in (folder / ".claude.json", Path(env.get("HOME") or Path.home()) / ".claude.json"):
        if _json(config).get("oauthAccount"):
            return True, "with a Claude account"
    if _json(folder / "settings.json").get("apiKeyHelper"):
        return True, "by the apiKeyHelper of its settings"
    return False, f"Run `{command}` on this machine and enter /login, or set ANTHROPIC_API_KEY where the runner starts"


def _codex(env: Environment) -> Cli | None:
    version = _version("codex", env)
    if version is None:
        return None
    folder = Path(env["CODEX_HOME"]) if env.get("CODEX_HOME") else Path(env.get("HOME") or Path.home()) / ".codex"
    if env.get("OPENAI_API_KEY") or env.get("CODEX_API_KEY"):
        return Cli(Engine.CODEX, version, True, "by an API key in the environment")
    signed_in = (folder / "auth.json").is_file()
    return Cli(Engine.CODEX, version, signed_in, f"by {folder / 'auth.json'}" if signed_in else "Run `codex login`")


def _openclaw(env: Environment) -> Cli | None:
    version = _version("openclaw", env)
    if version is None:
        return None
    folder = Path(env.get("OPENCLAW_STATE_DIR") or Path(env.get("HOME") or Path.home()) / ".openclaw")
    signed_in = folder.is_dir()
    return Cli(Engine.OPENCLAW, version, signed_in, f"set up in {folder}" if signed_in else "Run `openclaw onboard`")


def _version(name: str, env: Environment) -> str | None:
    """Return the version that a CLI on PATH says it has, None if it is not there or does not answer."""
    path = shutil.which(name, path=env.get("PATH"))
    if path is None:
        return None
    try:
        said = subprocess.run(
            [path, "--version"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("a CLI does not tell its version", cli=path, error=str(error))
        return None
    return _search(r"(\d+\.\d+[\w.+-]*)", said.stdout) if said.returncode == 0 else None


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else "unknown"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _json(path: Path) -> Mapping[str, object]:
    try:
        value = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
