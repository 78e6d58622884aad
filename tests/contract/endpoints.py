"""Every endpoint of the delivered faces, and the names of the faces to come."""

from __future__ import annotations

AGENTFLEET = """
GET  /api/v1/runners
GET  /api/v1/runners/:id
POST /api/v1/runs
GET  /api/v1/runs/:id
GET  /api/v1/runs/:id/events
POST /api/v1/runs/:id/followup
"""

AGENTSMESH = """
GET  /runners
GET  /runners/:id
GET  /runners/available
GET  /runners/:id/pods
GET  /api/v1/runners/available
GET  /api/v1/runners/:id/pods
"""

FLEETRUN = """
GET    /api/agents
POST   /api/agents
GET    /api/agents/:id
PATCH  /api/agents/:id
PUT    /api/agents/:id
DELETE /api/agents/:id
GET    /api/tasks
POST   /api/tasks
GET    /api/tasks/:id
PATCH  /api/tasks/:id
POST   /api/run
GET    /api/messages
GET    /api/usage
GET    /api/me
GET    /api/secrets
POST   /api/secrets
DELETE /api/secrets
GET    /api/mcps
POST   /api/mcps
PATCH  /api/mcps/:id
DELETE /api/mcps/:id
"""

#: What goes beyond the reference: epics, cancelling, people on the bus, the world of the Sessions reference.
AGENTS = """
POST   /api/tasks/:id/cancel
GET    /api/epics
POST   /api/epics
GET    /api/epics/:id
PATCH  /api/epics/:id
DELETE /api/epics/:id
POST   /api/messages
GET    /api/messages/stream
GET    /api/messages/dead
POST   /api/messages/:id/replay
GET    /api/agents/world
GET    /api/secrets/uses
POST   /api/secrets/rotate
POST   /api/mcps/:id/test
GET    /api/v1/policy
PATCH  /api/v1/policy
GET    /api/v1/limits
PATCH  /api/v1/limits
GET    /api/plan
GET    /api/usage/ledger
GET    /api/usage/statement
GET    /api/usage/prices
PUT    /api/usage/prices
GET    /api/budgets
POST   /api/budgets
GET    /api/budgets/:id
PATCH  /api/budgets/:id
DELETE /api/budgets/:id
"""

#: What the references share (CONTRACT §2), and what the first console and the CLI stand on.
COMMON = """
GET    /api/health
GET    /api/ready
GET    /api/metrics
GET    /api/openapi.json
GET    /api/v1/system
GET    /api/v1/runs
GET    /api/v1/keys
POST   /api/v1/keys
GET    /api/v1/keys/:id
PATCH  /api/v1/keys/:id
DELETE /api/v1/keys/:id
GET    /api/audit
POST   /api/v1/sign-in-links
GET    /api/runs/:id/events
GET    /api/runs/:id/events/stream
POST   /api/runs/:id/cancel
POST   /api/runs/:id/pause
POST   /api/runs/:id/continue
POST   /api/runs/:id/message
DELETE /api/runs/:id
GET    /api/approvals
GET    /api/approvals/:id
POST   /api/approvals/:id
"""

#: People and what they are; their own account, sign-ins and orgs.
PEOPLE = """
PATCH  /api/me
PUT    /api/me/password
POST   /api/me/leave
GET    /api/people
GET    /api/people/:id
PATCH  /api/people/:id
DELETE /api/people/:id
GET    /api/invitations
POST   /api/invitations
DELETE /api/invitations/:id
POST   /api/invitations/accept
POST   /api/invitations/join
GET    /api/sign-ins
POST   /api/sign-ins
PATCH  /api/sign-ins/:id
DELETE /api/sign-ins/:id
GET    /api/orgs
POST   /api/orgs
PATCH  /api/orgs/:id
"""

#: How a runner talks to the server.
RUNNER_PROTOCOL = """
POST /api/v1/runners/register
POST /api/v1/runners/:id/poll
POST /api/v1/runs/:id/events
POST /api/v1/runners/:id/commands/:command_id
POST /api/v1/tools/:name
"""

#: Faces of the contract that are not delivered yet.
TO_COME = ("Abbado", "Sessions")


def table(text: str) -> set[tuple[str, str]]:
    return {(method, path) for method, path in (line.split() for line in text.strip().splitlines())}


DELIVERED = set[tuple[str, str]]().union(
    *map(table, (AGENTFLEET, AGENTSMESH, FLEETRUN, AGENTS, COMMON, PEOPLE, RUNNER_PROTOCOL))
)
