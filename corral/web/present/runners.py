"""Runners and their pods as AgentsMesh shows them, under both roots."""

from __future__ import annotations

from typing import Literal

import msgspec

from corral.runs.frames import moment
from corral.runs.models import Run
from corral.runs.runners import Machine
from corral.web.present.runs import RunView
from corral.web.present.statuses import pod
from corral.wire.runner import Cli


class RunnerView(msgspec.Struct, kw_only=True):
    """A machine that pulls runs."""

    id: int  #: counted in its org
    runner_id: str = msgspec.field(name="runnerId")  #: the same machine by its text id
    name: str
    status: Literal["online", "offline"]
    available: bool  #: online, with a free slot, and not draining
    draining: bool
    version: str
    os: str
    arch: str
    labels: list[str]
    pod_count: int  #: runs it works on
    max_pods: int
    allowed_dirs: list[str]
    clis: list[Cli]
    last_heartbeat_at: str
    created_at: str


class RunnerList(msgspec.Struct):
    """Runners, newest first."""

    runners: list[RunnerView]


class RunnerDetail(msgspec.Struct):
    """A runner, and its runs, newest first."""

    runner: RunnerView
    sessions: list[RunView]


class PodView(msgspec.Struct):
    """A run on a runner."""

    key: str  #: `pod-` and the run's id
    status: str  #: queued, running, waiting, paused, terminated or failed
    agent_type_id: str
    initial_prompt: str
    created_at: str


class PodPage(msgspec.Struct):
    """A page of a runner's pods, newest first."""

    pods: list[PodView]
    total: int  #: all that match
    limit: int
    offset: int


def runner_view(machine: Machine) -> RunnerView:
    """Show a runner."""
    return RunnerView(
        id=machine.id,
        runner_id=machine.uid,
        name=machine.name,
        status="online" if machine.online else "offline",
        available=machine.available,
        draining=machine.draining,
        version=machine.version,
        os=machine.os,
        arch=machine.arch,
        labels=list(machine.labels),
        pod_count=machine.pod_count,
        max_pods=machine.max_pods,
        allowed_dirs=list(machine.allowed_dirs),
        clis=list(machine.clis),
        last_heartbeat_at=moment(machine.seen_at),
        created_at=moment(machine.created_at),
    )


def pod_view(run: Run) -> PodView:
    """Show a run as a pod."""
    return PodView(
        key=f"pod-{run.id}",
        status=pod(run.status),
        agent_type_id=run.engine,
        initial_prompt=run.prompt,
        created_at=moment(run.created_at),
    )
