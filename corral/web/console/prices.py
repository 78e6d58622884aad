"""Prices: what counts for which model and since when, the org's own before the built-in ones, and what has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from urllib.parse import urlencode

import msgspec

from corral.base.errors import BadRequest, CorralError
from corral.platform import database, orgs
from corral.platform.access import Role
from corral.usage import periods, pricelists, reports
from corral.usage.periods import date_of, day_of
from corral.usage.reports import Unpriced
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console import price_form
from corral.web.console.page import page
from corral.web.console.price_form import RATES, PriceForm, filled, price_of
from corral.web.console.runs import said
from corral.web.routes import Routes
from corral.wire.prices import MILLION, Book, Price, Rates

route = Routes("console", hidden=True, content=answers.HTML)

PRICES = "/app/prices"
_VERSIONS = 30


class PricesQuery(msgspec.Struct):
    """Which version; and what was just done to which model."""

    version: int | None = None
    done: str = ""
    model: str = ""


class Named(msgspec.Struct):
    """A price, by its model and first day."""

    model: str = ""
    since: str = msgspec.field(name="from", default="")


@dataclass(frozen=True, slots=True)
class Line:
    """What requests cost, of any length or above a number of tokens."""

    above: int | None
    rates: list[str]


@dataclass(frozen=True, slots=True)
class PriceView:
    """One price of the list."""

    model: str
    since: str
    lines: list[Line]
    status: str  #: the class that colours its dot
    word: str
    set_path: str  #: the form, filled with it


@dataclass(frozen=True, slots=True)
class UnpricedView:
    """A model whose tokens counted as nothing."""

    model: str
    tokens: int
    runs: int
    last_at: int
    priced: bool  #: by now
    set_path: str


@route.get(PRICES, scope="usage:read")
async def prices_page(call: Call, query: PricesQuery) -> Answer:
    """Show all prices, of now or of a version, and the models without one."""
    return await _show(call, query)


@route.get(f"{PRICES}/set", scope="usage:write", role=Role.ADMIN)
async def set_price_page(call: Call, query: Named) -> Answer:
    """Show the form that sets a price: for a model, or with a price that is there."""
    book = await pricelists.newest(call.org_id)
    there = next((one for one in (*book.own, *book.builtin) if _is(one, query)), None)
    return await _form(call, filled(there) if there else PriceForm(model=query.model), {})


@route.post(PRICES, scope="usage:write", role=Role.ADMIN, repeatable=False)
async def set_price_from_page(call: Call, form: PriceForm) -> Answer:
    """Set a price and lead to the list, or show the form again with what is wrong beside the field."""
    price, errors = price_of(form)
    if price is not None:
        try:
            await pricelists.put(call.org_id, price, call.actor)
        except BadRequest as error:
            errors = {error.field or "model": said(error)}
        else:
            return redirect(f"{PRICES}?{urlencode({'done': 'set', 'model': price.model})}")
    return await _form(call, form, errors, status=400)


@route.post(f"{PRICES}/remove", scope="usage:write", role=Role.ADMIN, repeatable=False)
async def remove_price_from_page(call: Call, form: Named) -> Answer:
    """Take a price back."""
    try:
        await pricelists.drop(call.org_id, form.model, price_form.day(form.since), call.actor)
    except ValueError:
        return await _show(call, PricesQuery(), problem=f"{form.since} is no day.", status=400)
    except CorralError as error:
        return await _show(call, PricesQuery(), problem=f"{error.message}.", status=409)
    return redirect(f"{PRICES}?{urlencode({'done': 'removed', 'model': form.model})}")


async def _show(call: Call, query: PricesQuery, *, problem: str | None = None, status: int = 200) -> Answer:
    present = await pricelists.newest(call.org_id)
    book = present if query.version is None else await pricelists.at(call.org_id, query.version)
    month = periods.lately("month", UTC, await database.now())
    today = day_of(month.last)
    people = await orgs.people(call.org_id)
    lost = [_unpriced(one, present, today) for one in await reports.unpriced(call.org_id, month)]
    return await page(
        call, "prices.html", "usage", status=status, path=PRICES, query=query, problem=problem,
        is_present=book.version == present.version, version=book.version, rates=RATES,
        own=_views(book.own, book, today), builtin=_views(book.builtin, book, today),
        unpriced=sorted(lost, key=lambda one: one.priced), people=people,
        versions=await pricelists.versions(call.org_id, limit=_VERSIONS),
    )  # fmt: skip


async def _form(call: Call, form: PriceForm, errors: Mapping[str, str], status: int = 200) -> Answer:
    return await page(
        call, "price_form.html", "usage", status=status, path=f"{PRICES}/set", form=form, errors=errors, rates=RATES
    )


def _views(prices: Sequence[Price], book: Book, today: int) -> list[PriceView]:
    """Show prices by name, those of one name by their day."""
    ordered = sorted(prices, key=lambda one: (one.model, one.since or 0))
    return [_view(one, ordered, book, today) for one in ordered]


def _view(price: Price, beside: Sequence[Price], book: Book, today: int) -> PriceView:
    since = "" if price.since is None else date_of(price.since).isoformat()
    lines = [Line(None, _rates(price.rates)), *(Line(tier.above, _rates(tier.rates)) for tier in price.tiers)]
    status, word = _counts(price, beside, book, today)
    return PriceView(price.model, since, lines, status, word, _set_path(price.model, since))


def _counts(price: Price, beside: Sequence[Price], book: Book, today: int) -> tuple[str, str]:
    """Return whether a price counts today, as the class of a dot and a word."""
    if price.since is not None and price.since > today:
        return "queued", "Counts later"
    later = [one.since for one in beside if one.model == price.model and one.since is not None]
    following = min((day for day in later if day > (price.since if price.since is not None else -1)), default=None)
    if following is not None and following <= today:
        return "cancelled", f"Until {date_of(following - 1)}"
    if price not in book.own and "*" not in price.model and book.find(price.model, today) in book.own:
        return "cancelled", "Your own counts"
    return "completed", "Counts" if following is None else f"Counts until {date_of(following - 1)}"


def _unpriced(one: Unpriced, book: Book, today: int) -> UnpricedView:
    priced = book.find(one.model, today) is not None
    return UnpricedView(one.model, one.tokens, one.runs, one.last_at, priced, _set_path(one.model, ""))


def _is(price: Price, named: Named) -> bool:
    try:
        return (price.model, price.since) == (named.model, price_form.day(named.since))
    except ValueError:
        return False


def _set_path(model: str, since: str) -> str:
    return f"{PRICES}/set?{urlencode({name: value for name, value in (('model', model), ('from', since)) if value})}"


def _rates(rates: Rates) -> list[str]:
    return [f"{getattr(rates, name) / MILLION:g}" for name in RATES]
