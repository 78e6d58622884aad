"""The API: a file per resource. Each declares its routes; `ROUTES` is all of them."""

from __future__ import annotations

from corral.web.api import (
    agents,
    approvals,
    audit,
    budgets,
    epics,
    execution,
    keys,
    launches,
    mcps,
    me,
    messages,
    meta,
    prices,
    protocol,
    runners,
    runs,
    secrets,
    sign_in_links,
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
    audit,
    me,
    sign_in_links,
    meta,
)

ROUTES = [route for resource in _RESOURCES for route in resource.route.all]
