"""The org's plan: what it allows, how much of that is used, and which features it includes."""

from __future__ import annotations

from dataclasses import dataclass

from corral.platform import plans
from corral.web import answers
from corral.web.answers import Answer
from corral.web.api.plan import plan_view
from corral.web.call import Call
from corral.web.console.page import page
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

#: What counts, so that nobody has to look it up.
_SAYS = {
    "agents": ("Agents", "Archived ones don’t count."),
    "runners": ("Runners", "Machines that were here within a day."),
    "concurrent_runs": ("Runs at a time", "Ready or at work. What waits for a person or a task doesn’t count."),
    "seats": ("Seats", "People, and invitations that are still open."),
}


@dataclass(frozen=True, slots=True)
class Share:
    """How much is used of one limit."""

    label: str
    says: str
    used: int
    most: int | None  #: None: any number

    @property
    def is_full(self) -> bool:
        """Whether there is room for no more."""
        return self.most is not None and self.used >= self.most


@dataclass(frozen=True, slots=True)
class Feature:
    """Something a plan may include."""

    label: str
    is_on: bool


@route.get("/app/plan", scope="agents:read")
async def plan_page(call: Call) -> Answer:
    """Show the plan."""
    told = await plan_view(call.org_id, call.caller.plan)
    shares = [Share(label, says, told.used[what], told.limits[what]) for what, (label, says) in _SAYS.items()]
    features = [Feature(_capital(says), told.features[name]) for name, says in plans.FEATURES.items()]
    return await page(
        call, "plan.html", "plan", path="/app/plan", plan=told.name, shares=shares, features=features,
        is_limited=any(share.most is not None for share in shares) or not all(one.is_on for one in features),
    )  # fmt: skip


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
