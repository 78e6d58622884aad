"""What the files in deploy/ say, read as the programs do that they are for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def compose(env: dict[str, str]) -> dict[str, Any]:
    """The compose file with its variables in place."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if kind == "?":
            assert env.get(name), f"{name}: {rest}"
        return env.get(name) or (rest if kind == "-" else "")

    read: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, (DEPLOY / "compose.yaml").read_text()))
    return read


def env_example() -> dict[str, str]:
    lines = (DEPLOY / "env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class Image:
    """One stage of the Containerfile, with those that it is made from."""

    def __init__(self, stage: str) -> None:
        self.instructions: list[tuple[str, str]] = []
        stages = _stages()
        while stage in stages:
            base, instructions = stages[stage]
            self.instructions = [*instructions, *self.instructions]
            stage = base
        self.base = stage

    def all(self, name: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == name]

    @property
    def env(self) -> dict[str, str]:
        return dict(part.split("=", 1) for rest in self.all("ENV") for part in shlex.split(rest))


def _stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    text = (DEPLOY / "Containerfile").read_text()
    lines = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#"))).splitlines()
    stages: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    into: list[tuple[str, str]] = []
    for line in lines:
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = rest.split()
            stages[name] = (base, into := [])
        elif instruction:
            into.append((instruction, rest))
    return stages


def unit(name: str) -> dict[str, list[str]]:
    """A systemd unit's settings, each with all its values."""
    settings: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def environment(settings: dict[str, list[str]]) -> dict[str, str]:
    return dict(one.split("=", 1) for one in settings.get("Environment", []))


def copy_secrets_script(folder: Path) -> Path:
    script = folder / "make-secrets.sh"
    script.write_text((DEPLOY / "make-secrets.sh").read_text())
    return script
