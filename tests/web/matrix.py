"""Who may do what: every route, written by hand, so that a new one without a row fails.

A row is the method, the path, the scope a key needs (`-`: none), the least role of a person or of a key's owner, and
what somebody who has both is answered who names a thing that is not there and sends nonsense.
"""

from __future__ import annotations

from typing import NamedTuple

from corral.platform.access import Role

API = """
POST   /api/v1/runs                                runs:write      member  400
GET    /api/v1/runs                                runs:read       viewer  200
GET    /api/v1/runs/<id>                           runs:read       viewer  404
GET    /api/v1/runs/<id>/events                    runs:read       viewer  404
POST   /api/v1/runs/<id>/followup                  runs:write      member  400
GET    /api/runs/<id>/events                       runs:read       viewer  404
GET    /api/runs/<id>/events/stream                runs:read       viewer  404
POST   /api/runs/<id>/cancel                       runs:write      member  400
POST   /api/runs/<id>/pause                        runs:write      member  400
POST   /api/runs/<id>/continue                     runs:write      member  400
DELETE /api/runs/<id>                              runs:write      member  400
POST   /api/runs/<id>/message                      runs:write      member  400
GET    /runners                                    runners:read    viewer  200
GET    /runners/available                          runners:read    viewer  200
GET    /runners/<id>                               runners:read    viewer  404
GET    /runners/<id>/pods                          runners:read    viewer  404
GET    /api/v1/runners                             runners:read    viewer  200
GET    /api/v1/runners/available                   runners:read    viewer  200
GET    /api/v1/runners/<id>                        runners:read    viewer  404
GET    /api/v1/runners/<id>/pods                   runners:read    viewer  404
POST   /api/v1/runners/register                    runner          admin   400
POST   /api/v1/runners/<id>/poll                   runner          admin   400
POST   /api/v1/runs/<id>/events                    runner          admin   400
POST   /api/v1/runners/<id>/commands/<command_id>  runner          admin   400
POST   /api/v1/tools/<name>                        tools:call      viewer  403
GET    /api/agents                                 agents:read     viewer  200
POST   /api/agents                                 agents:write    member  400
GET    /api/agents/world                           agents:read     viewer  200
GET    /api/agents/<id>                            agents:read     viewer  404
PATCH  /api/agents/<id>                            agents:write    member  400
PUT    /api/agents/<id>                            agents:write    member  400
DELETE /api/agents/<id>                            agents:write    member  400
GET    /api/tasks                                  tasks:read      viewer  200
POST   /api/tasks                                  tasks:write     member  400
GET    /api/tasks/<id>                             tasks:read      viewer  404
PATCH  /api/tasks/<id>                             tasks:write     member  400
POST   /api/tasks/<id>/cancel                      tasks:write     member  400
POST   /api/run                                    tasks:write     member  400
GET    /api/epics                                  tasks:read      viewer  200
POST   /api/epics                                  tasks:write     member  400
GET    /api/epics/<id>                             tasks:read      viewer  404
PATCH  /api/epics/<id>                             tasks:write     member  400
DELETE /api/epics/<id>                             tasks:write     member  400
GET    /api/messages                               messages:read   viewer  200
POST   /api/messages                               messages:write  member  400
GET    /api/messages/stream                        messages:read   viewer  200
GET    /api/messages/dead                          messages:read   viewer  200
POST   /api/messages/<id>/replay                   messages:write  member  400
GET    /api/approvals                              approvals:read  viewer  200
GET    /api/approvals/<id>                         approvals:read  viewer  404
POST   /api/approvals/<id>                         approvals:write member  400
GET    /api/usage                                  usage:read      viewer  200
GET    /api/usage/ledger                           usage:read      viewer  200
GET    /api/usage/statement                        usage:read      viewer  200
GET    /api/usage/prices                           usage:read      viewer  200
PUT    /api/usage/prices                           usage:write     admin   400
GET    /api/budgets                                usage:read      viewer  200
POST   /api/budgets                                usage:write     admin   400
GET    /api/budgets/<id>                           usage:read      viewer  404
PATCH  /api/budgets/<id>                           usage:write     admin   400
DELETE /api/budgets/<id>                           usage:write     admin   400
GET    /api/secrets                                secrets:read    viewer  200
GET    /api/secrets/uses                           secrets:read    viewer  200
POST   /api/secrets                                secrets:write   admin   400
DELETE /api/secrets                                secrets:write   admin   400
POST   /api/secrets/rotate                         secrets:write   owner   400
GET    /api/mcps                                   mcps:read       viewer  200
POST   /api/mcps                                   mcps:write      admin   400
PATCH  /api/mcps/<id>                              mcps:write      admin   400
DELETE /api/mcps/<id>                              mcps:write      admin   400
POST   /api/mcps/<id>/test                         mcps:write      admin   400
POST   /api/v1/keys                                keys:write      admin   400
GET    /api/v1/keys                                keys:read       viewer  200
GET    /api/v1/keys/<id>                           keys:read       viewer  404
PATCH  /api/v1/keys/<id>                           keys:write      admin   400
DELETE /api/v1/keys/<id>                           keys:write      admin   400
GET    /api/audit                                  audit:read      admin   200
GET    /api/plan                                   -               viewer  200
GET    /api/v1/limits                              keys:read       viewer  200
PATCH  /api/v1/limits                              keys:write      admin   400
GET    /api/me                                     -               viewer  200
PATCH  /api/me                                     -               viewer  400
PUT    /api/me/password                            -               viewer  400
POST   /api/me/leave                               -               viewer  400
GET    /api/v1/policy                              agents:read     admin   200
PATCH  /api/v1/policy                              agents:write    admin   400
GET    /api/orgs                                   -               viewer  200
POST   /api/orgs                                   *               owner   400
PATCH  /api/orgs/<id>                              people:write    owner   400
GET    /api/people                                 people:read     viewer  200
GET    /api/people/<id>                            people:read     viewer  404
PATCH  /api/people/<id>                            people:write    admin   400
DELETE /api/people/<id>                            people:write    admin   400
POST   /api/invitations                            people:write    admin   400
GET    /api/invitations                            people:read     admin   200
DELETE /api/invitations/<id>                       people:write    admin   400
POST   /api/invitations/join                       -               viewer  400
GET    /api/sign-ins                               people:read     viewer  200
PATCH  /api/sign-ins/<id>                          -               viewer  400
DELETE /api/sign-ins/<id>                          -               viewer  400
POST   /api/v1/sign-in-links                       *               owner   400
GET    /api/v1/system                              runners:read    admin   200
GET    /api/metrics                                *               owner   200
"""

PAGES = """
POST   /app/sign-out                                   runs:read       viewer  303
POST   /app/profile/identities                         people:read     viewer  403
POST   /app/invitation/join                            people:read     viewer  403
GET    /app/runs                                       runs:read       viewer  200
GET    /app/runs/new                                   runs:write      member  200
POST   /app/runs                                       runs:write      member  400
GET    /app/runs/<run_id>                              runs:read       viewer  404
GET    /app/runs/<run_id>/life                         runs:read       viewer  404
POST   /app/runs/<run_id>/say                          runs:write      member  404
POST   /app/runs/<run_id>/pause                        runs:write      member  404
POST   /app/runs/<run_id>/continue                     runs:write      member  404
POST   /app/runs/<run_id>/cancel                       runs:write      member  404
POST   /app/runs/<run_id>/delete                       runs:write      member  404
GET    /app/inbox                                      approvals:read  viewer  200
GET    /app/approvals                                  approvals:read  viewer  303
POST   /app/approvals/<approval_id>                    approvals:write member  404
GET    /app/agents                                     agents:read     viewer  200
GET    /app/agents/new                                 agents:write    member  200
POST   /app/agents                                     agents:write    member  400
GET    /app/agents/<agent_id>                          agents:read     viewer  404
GET    /app/agents/<agent_id>/edit                     agents:write    member  404
POST   /app/agents/<agent_id>/edit                     agents:write    member  404
POST   /app/agents/<agent_id>/state                    agents:write    member  404
POST   /app/agents/<agent_id>/say                      messages:write  member  404
GET    /app/board                                      tasks:read      viewer  200
POST   /app/board/move                                 tasks:write     member  409
GET    /app/tasks/new                                  tasks:write     member  200
POST   /app/tasks                                      tasks:write     member  400
GET    /app/tasks/<task_id>                            tasks:read      viewer  404
GET    /app/tasks/<task_id>/edit                       tasks:write     member  404
POST   /app/tasks/<task_id>/edit                       tasks:write     member  404
POST   /app/tasks/<task_id>/start                      tasks:write     member  404
POST   /app/tasks/<task_id>/cancel                     tasks:write     member  404
GET    /app/epics                                      tasks:read      viewer  200
POST   /app/epics                                      tasks:write     member  400
GET    /app/epics/<epic_id>                            tasks:write     member  404
POST   /app/epics/<epic_id>                            tasks:write     member  404
POST   /app/epics/<epic_id>/delete                     tasks:write     member  404
GET    /app/bus                                        messages:read   viewer  200
GET    /app/bus/tasks/<task_id>                        messages:read   viewer  404
GET    /app/bus/<message_id>                           messages:read   viewer  404
GET    /app/messages/new                               messages:write  member  200
POST   /app/messages                                   messages:write  member  400
POST   /app/messages/<message_id>/replay               messages:write  member  404
GET    /app/runners                                    runners:read    viewer  200
GET    /app/runners/new                                keys:write      admin   200
POST   /app/runners/new                                keys:write      admin   400
GET    /app/runners/connected                          runners:read    viewer  200
GET    /app/runners/<runner_id>                        runners:read    viewer  404
GET    /app/mcps                                       mcps:read       viewer  200
GET    /app/mcps/new                                   mcps:write      admin   200
POST   /app/mcps                                       mcps:write      admin   400
GET    /app/mcps/<mcp_id>                              mcps:read       viewer  404
GET    /app/mcps/<mcp_id>/edit                         mcps:write      admin   404
POST   /app/mcps/<mcp_id>/edit                         mcps:write      admin   404
POST   /app/mcps/<mcp_id>/rules                        mcps:write      admin   404
POST   /app/mcps/<mcp_id>/test                         mcps:write      admin   404
POST   /app/mcps/<mcp_id>/delete                       mcps:write      admin   404
GET    /app/secrets                                    secrets:read    viewer  200
GET    /app/secrets/new                                secrets:write   admin   200
POST   /app/secrets/new                                secrets:write   admin   400
GET    /app/secrets/one                                secrets:read    viewer  404
POST   /app/secrets/delete                             secrets:write   admin   303
GET    /app/budgets                                    usage:read      viewer  200
GET    /app/budgets/new                                usage:write     admin   200
POST   /app/budgets                                    usage:write     admin   400
GET    /app/budgets/<budget_id>                        usage:read      viewer  404
GET    /app/budgets/<budget_id>/edit                   usage:write     admin   404
POST   /app/budgets/<budget_id>/edit                   usage:write     admin   404
POST   /app/budgets/<budget_id>/limit                  usage:write     admin   404
POST   /app/budgets/<budget_id>/delete                 usage:write     admin   404
GET    /app/people                                     people:read     viewer  200
POST   /app/people/invite                              people:write    admin   400
POST   /app/people/<user_id>/role                      people:write    admin   400
POST   /app/people/<user_id>/remove                    people:write    admin   404
POST   /app/people/invitations/<invitation_id>/revoke  people:write    admin   409
POST   /app/orgs/switch                                people:read     viewer  403
GET    /app/orgs/new                                   people:read     viewer  200
POST   /app/orgs/new                                   people:read     viewer  403
GET    /app/orgs/rename                                people:write    owner   200
POST   /app/orgs/rename                                people:write    owner   400
GET    /app/profile                                    people:read     viewer  403
POST   /app/profile                                    people:read     viewer  403
POST   /app/profile/password                           people:read     viewer  403
POST   /app/profile/identities/<no>/disconnect         people:read     viewer  403
POST   /app/profile/leave                              people:read     viewer  403
GET    /app/sign-ins                                   people:read     viewer  403
POST   /app/sign-ins/<sign_in_id>/end                  people:read     viewer  403
POST   /app/sign-ins/end-others                        people:read     viewer  403
POST   /app/people/sign-ins/<sign_in_id>/end           people:write    admin   404
GET    /app/keys                                       keys:read       viewer  200
POST   /app/keys                                       keys:write      admin   400
POST   /app/keys/<key_id>/limit                        keys:write      admin   404
POST   /app/keys/<key_id>/revoke                       keys:write      admin   404
GET    /app/audit                                      audit:read      admin   200
GET    /app/usage                                      usage:read      viewer  200
GET    /app/usage/runs                                 usage:read      viewer  200
GET    /app/usage/export                               usage:read      viewer  404
GET    /app/prices                                     usage:read      viewer  200
GET    /app/prices/set                                 usage:write     admin   200
POST   /app/prices                                     usage:write     admin   400
POST   /app/prices/remove                              usage:write     admin   409
GET    /app/usage/statement                            usage:read      viewer  200
GET    /app/plan                                       agents:read     viewer  200
GET    /app/settings                                   agents:read     viewer  200
POST   /app/settings                                   agents:write    admin   400
GET    /app/system                                     runners:read    admin   200
"""

#: What anybody may ask for without being known; a route is not made so by mistake.
OPEN = """
POST   /api/invitations/accept
POST   /api/sign-ins
GET    /api/health
GET    /api/ready
GET    /api/openapi.json
GET    /
GET    /app
GET    /app/sign-in
POST   /app/sign-in
POST   /app/sign-in/provider
GET    /app/sign-in/provider/back
GET    /app/invitation
POST   /app/invitation
POST   /app/invitation/accept
GET    /static/<name>
"""
#: What only people who are signed in see: a key is refused, and they are answered so.
SIGNED_IN = {"/app/profile": 200, "/app/sign-ins": 200}
#: What only those who run the servers may: people and keys of the first org.
OPERATORS = {"/api/metrics"}
#: Scopes that do where the row names another.
DOES_AS_WELL = {"runner": {"runners:write"}}


class Row(NamedTuple):
    """What one route demands, and what it answers who fulfils it."""

    method: str
    path: str
    scope: str | None
    role: Role
    reached: int

    @property
    def is_page(self) -> bool:
        """Whether people are asked to sign in, instead of being told 401."""
        return self.path.startswith("/app")


def rows() -> list[Row]:
    """Return the whole matrix."""
    split = [line.split() for line in (API + PAGES).strip().splitlines() if line]
    return [
        Row(m, path, None if scope == "-" else scope, Role(role), int(status)) for m, path, scope, role, status in split
    ]
