"""Approvals as the API has them: find the one an event is about, and decide it."""

from __future__ import annotations

import time
from typing import Any

from corral.cli.client import Client, segment

#: The event of a request is on screen a moment before or after its row can be read.
_PATIENCE = 3.0


def pending(client: Client) -> list[dict[str, Any]]:
    """Return what waits for a person."""
    return listed(client, status="pending")


def listed(client: Client, **query: Any) -> list[dict[str, Any]]:
    """Return approvals, newest first."""
    return list(client.get("/api/approvals", **query))


def pending_of(client: Client, run_id: str, request_id: str) -> dict[str, Any] | None:
    """Return the run's pending approval of that request, None if nothing is pending."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        for approval in listed(client, run_id=run_id):
            if approval["request_id"] == request_id:
                return approval if approval["status"] == "pending" else None
        if time.monotonic() > deadline:
            return None
        time.sleep(0.1)


def decide(
    client: Client,
    approval_id: str,
    *,
    decision: str,
    reason: str | None = None,
    answers: dict[str, str] | None = None,
) -> Any:
    """Answer an approval; `answers` maps a question's text to what was chosen."""
    body = {"decision": decision, "reason": reason, "answers": answers}
    return client.post(
        f"/api/approvals/{segment(approval_id)}", {name: value for name, value in body.items() if value is not None}
    )
