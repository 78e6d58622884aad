"""The words a run is described with, the same in rows, events, assignments and every API face."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """The seven stored states of a run; `docs/states.md` draws who moves it from one to the next."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: States in which an attempt may hold a process on a runner.
LIVE = (RunStatus.RUNNING, RunStatus.WAITING)
#: States a run leaves only by a new attempt.
ENDED = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


class PermissionMode(StrEnum):
    """What an agent may do unasked; the values are Claude Code's own."""

    DEFAULT = "default"
    ACCEPT_EDITS = "acceptEdits"
    BYPASS = "bypassPermissions"
    PLAN = "plan"
    DONT_ASK = "dontAsk"


class Engine(StrEnum):
    """What executes a run: a CLI, of which a runner says at registration which it found, or the platform itself."""

    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    OPENCLAW = "openclaw"
    PROVIDER = "provider"  # inside the platform, through a provider's API; no machine's runner may offer it
