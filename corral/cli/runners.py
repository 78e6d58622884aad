"""`corral runners`: the machines that pull runs."""

from __future__ import annotations

from typing import Any

from corral.cli import options
from corral.cli.connect import connected
from corral.cli.terminal import ago, stderr, stdout


def runners(as_json: options.Json = False, data: options.Data = None) -> None:
    """List runners: which are online, what they run now, and where they may work."""
    out = stdout()
    with connected(data) as client:
        answer = client.get("/api/v1/runners")
    if as_json:
        out.json(answer)
        return
    if not answer["runners"]:
        stderr().line("No runner yet. `corral up` brings one; on other machines start `corral runner`.")
        return
    out.table(
        ["NO", "NAME", "STATUS", "PODS", "SEEN", "SYSTEM", "LABELS", "DIRECTORIES"],
        [_row(runner) for runner in answer["runners"]],
    )


def _row(runner: dict[str, Any]) -> list[str]:
    directories = runner.get("allowed_dirs") or runner.get("allowedDirs") or []
    return [
        str(runner["id"]),
        runner["name"],
        runner["status"],
        f"{runner['pod_count']}/{runner['max_pods']}",
        f"{ago(runner['last_heartbeat_at'])} ago",
        f"{runner['os']}/{runner['arch']}",
        ",".join(runner["labels"]) or "–",
        " ".join(directories) or "–",
    ]
