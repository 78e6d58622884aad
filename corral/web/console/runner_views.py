"""Runners as pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from corral.runs.runners import Machine
from corral.wire.runner import Cli
from corral.wire.runs import Engine

_NAMES = {Engine.CLAUDE_CODE: "Claude Code", Engine.CODEX: "Codex", Engine.OPENCLAW: "OpenClaw"}


@dataclass(frozen=True, slots=True)
class CliView:
    """One agent CLI that a runner found."""

    name: str
    version: str
    signed_in: bool
    detail: str


@dataclass(frozen=True, slots=True)
class RunnerView:
    """One machine."""

    id: int
    name: str
    state: str  #: online | draining | offline, the class that colours its dot
    word: str
    online: bool
    os: str
    arch: str
    version: str
    labels: list[str]
    dirs: list[str]
    clis: list[CliView]
    clis_line: str
    used: int
    slots: int
    seen_at: int
    created_at: int
    why: str | None  #: why it takes no work now


def runner_view(machine: Machine) -> RunnerView:
    """Return a machine's view."""
    state = "offline" if not machine.online else "draining" if machine.draining else "online"
    clis = [CliView(_NAMES.get(cli.engine, cli.engine), cli.version, cli.signed_in, cli.detail) for cli in machine.clis]
    return RunnerView(
        id=machine.id,
        name=machine.name,
        state=state,
        word=state.capitalize(),
        online=machine.online,
        os={"linux": "Linux", "darwin": "macOS", "windows": "Windows"}.get(machine.os, machine.os),
        arch=machine.arch,
        version=machine.version,
        labels=list(machine.labels),
        dirs=list(machine.allowed_dirs),
        clis=clis,
        clis_line=", ".join(_line(cli) for cli in machine.clis) or "none",
        used=machine.pod_count,
        slots=machine.max_pods,
        seen_at=machine.seen_at,
        created_at=machine.created_at,
        why=_why(machine),
    )


def _line(cli: Cli) -> str:
    return f"{_NAMES.get(cli.engine, cli.engine)} {cli.version}{'' if cli.signed_in else ' (not signed in)'}"


def _why(machine: Machine) -> str | None:
    if not machine.online:
        return "It has not been heard of for a while: start `corral runner` on the machine again. Its runs wait for it."
    if machine.draining:
        return "It is draining: it finishes its runs and takes no new ones."
    if not machine.clis:
        return "It takes no runs: it found no agent CLI on its machine."
    if not any(cli.signed_in for cli in machine.clis):
        return "No agent CLI on it is signed in, so its runs will fail until one is."
    if machine.pod_count >= machine.max_pods:
        return f"All its {machine.max_pods} slots are in use; what fits it waits."
    if machine.pod_count == 0:
        return "It is idle: nothing in the queue fits it."
    return None
