"""What the audit log can say: each kind of thing that changes, and what is done to it."""

from __future__ import annotations

from typing import Literal

#: What was changed.
Kind = Literal[
    "agent", "approval", "budget", "database", "epic", "invitation", "key", "limits", "master_key", "mcp", "message",
    "org", "plan", "policy", "prices", "run", "runner", "secret", "task", "user",
]  # fmt: skip

#: What was done. Most begin with the kind of what was changed; what befalls people does not.
Action = Literal[
    "account.changed",
    "agent.archived", "agent.changed", "agent.created", "agent.paused", "agent.resumed",
    "approval.answered",
    "budget.changed", "budget.created", "budget.deleted",
    "database.restored",
    "epic.changed", "epic.created", "epic.deleted",
    "identity.connected", "identity.disconnected",
    "invitation.created", "invitation.revoked",
    "key.changed", "key.created", "key.revoked",
    "limits.changed",
    "master_key.renewed",
    "mcp.changed", "mcp.created", "mcp.deleted", "mcp.tested",
    "member.changed", "member.joined", "member.left", "member.removed",
    "message.replayed", "message.sent",
    "org.changed", "org.created",
    "password.changed",
    "plan.changed",
    "policy.changed",
    "prices.changed",
    "run.cancelled", "run.continued", "run.deleted", "run.followed_up", "run.launched", "run.messaged", "run.paused",
    "runner.changed", "runner.registered",
    "secret.deleted", "secret.stored", "secrets.rotated",
    "sign_in.begun", "sign_in.ended", "sign_in.switched", "sign_in_link.created",
    "task.cancelled", "task.changed", "task.created",
]  # fmt: skip
