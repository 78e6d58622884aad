"""Links that sign a person in to the console, once."""

from __future__ import annotations

import msgspec

from corral.platform import accounts, orgs, sign_in
from corral.platform.access import Role
from corral.runs.frames import moment
from corral.web.call import Call
from corral.web.routes import Routes

route = Routes("sign-in")


class SignInLinkView(msgspec.Struct, rename="camel"):
    """A way in."""

    url: str
    expires_at: str


@route.post("/api/v1/sign-in-links", scope="*", role=Role.OWNER, status=201, secret=True, also=(409,))
async def create_sign_in_link(call: Call) -> SignInLinkView:
    """Make a link that signs the key's owner in, once, within the hour, for no longer than the key lasts."""
    user_id = call.caller.user_id or await orgs.owner(call.org_id)
    await accounts.check_reach(call.caller, user_id)
    link = await sign_in.make_link(call.org_id, user_id, by=call.caller)
    return SignInLinkView(link.url(call.settings), moment(link.expires_at))
