"""The API: a file per resource. Each declares its routes; `ROUTES` is all of them."""

from __future__ import annotations

from corral.web.api import approvals, keys, launches, mcps, meta, protocol, runners, runs, secrets, sign_in_links

ROUTES = [
    route
    for resource in (launches, runs, runners, protocol, approvals, keys, secrets, mcps, sign_in_links, meta)
    for route in resource.route.all
]
