"""The API: a file per resource. Each declares its routes; `ROUTES` is all of them."""

from __future__ import annotations

from corral.web.api import (
    agents,
    approvals,
    budgets,
    epics,
    execution,
    invitations,
    keys,
    launches,
    mcps,
    me,
    messages,
    meta,
    orgs,
    people,
    prices,
    protocol,
    runners,
    runs,
    secrets,
    sign_in_links,
    sign_ins,
    tasks,
    tools,
    usage,
)

_RESOURCES = (
    launches,
    runs,
    runners,
    protocol,
    tools,
    agents,
    tasks,
    execution,
    epics,
    messages,
    approvals,
    usage,
    prices,
    budgets,
    secrets,
    mcps,
    keys,
    me,
    orgs,
    people,
    invitations,
    sign_ins,
    sign_in_links,
    meta,
)

ROUTES = [route for resource in _RESOURCES for route in resource.route.all]
