"""What models cost: the built-in list, and the org's own prices before it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import msgspec

from corral.base.errors import BadRequest
from corral.platform.access import Role
from corral.usage import pricelists
from corral.usage.periods import day_of
from corral.web.api.paging import Count
from corral.web.call import Call
from corral.web.present.prices import PricesView, prices_view
from corral.web.routes import Routes
from corral.wire.prices import MILLION, Price, Rates, Tier

route = Routes("usage")

Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[!-~]+$")]
#: US dollars a million tokens, to the millionth.
Dollars = Annotated[float, msgspec.Meta(ge=0, le=10_000)]
Threshold = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class SetTier(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What longer requests cost."""

    above: Threshold  #: tokens that a request asks with, cached ones included
    input: Dollars
    output: Dollars
    cache_read: Dollars
    cache_write: Dollars


class SetPrice(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What models of a name cost from a day on, in US dollars a million tokens."""

    model: Pattern  #: a name, with * for any letters
    since: date | None = msgspec.field(name="from", default=None)  #: the first day, UTC; from ever, if left out
    input: Dollars
    output: Dollars
    cache_read: Dollars
    cache_write: Dollars
    tiers: Annotated[list[SetTier], msgspec.Meta(max_length=10)] = []
    builtin: bool = False  #: as an answer says it: such a price is not the org's own, and left alone


class SetPrices(msgspec.Struct, forbid_unknown_fields=True):
    """All of the org's own prices."""

    prices: Annotated[list[SetPrice], msgspec.Meta(max_length=pricelists.OWN_MOST)]


class PricesAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Which prices."""

    version: Count | None = None  #: as a line of the ledger names it; the present one, if left out


@route.get("/api/usage/prices", scope="usage:read", also=(404,))
async def get_prices(call: Call, query: PricesAsked) -> PricesView:
    """List what models cost: the org's own prices, which come first, and the built-in ones."""
    if query.version is not None:
        return prices_view(await pricelists.at(call.org_id, query.version))
    return prices_view(await pricelists.newest(call.org_id))


@route.put("/api/usage/prices", scope="usage:write", role=Role.ADMIN, answers=(PricesView,))
async def set_prices(call: Call, body: SetPrices) -> PricesView:
    """Set the org's own prices, as a new version. What was recorded before keeps its cost."""
    own = [_price(index, given) for index, given in enumerate(body.prices) if not given.builtin]
    seen = set()
    for price in own:
        if (price.model, price.since) in seen:
            raise BadRequest(f"prices: {price.model} has two prices from the same day", field="prices")
        seen.add((price.model, price.since))
    return prices_view(await pricelists.replace(call.org_id, own, call.actor))


def _price(index: int, given: SetPrice) -> Price:
    tiers = sorted((Tier(tier.above, _rates(tier)) for tier in given.tiers), key=lambda tier: tier.above)
    if len({tier.above for tier in tiers}) < len(tiers):
        field = f"prices[{index}].tiers"
        raise BadRequest(f"{field}: two tiers begin above the same number of tokens", field=field)
    if given.since is not None and not 1970 <= given.since.year < 2200:
        field = f"prices[{index}].from"
        raise BadRequest(f"{field}: {given.since} is not between 1970 and 2200", field=field)
    since = None if given.since is None else day_of(given.since)
    return Price(given.model, _rates(given), since, tuple(tiers))


def _rates(given: Any) -> Rates:
    return Rates(*(round(getattr(given, name) * MILLION) for name in Rates.__struct_fields__))
