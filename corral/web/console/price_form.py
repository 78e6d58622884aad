"""The form that sets a price: its fields as they are typed, what is wrong with them, and the price they stand for."""

from __future__ import annotations

import math
import re
from datetime import date

import msgspec

from corral.usage.periods import date_of, day_of
from corral.wire.prices import MILLION, Price, Rates, Tier

#: What has a rate → what it is called.
RATES = {"input": "Input", "output": "Output", "cache_read": "Cache read", "cache_write": "Cache write"}
_DOLLARS_MOST = 10_000
_ABOVE_MOST = 2**53
_TIERS_MOST = 10
_EMPTY_TIERS = 2  #: rows to fill in, beside those that are
_MODEL = re.compile(r"[!-~]{1,100}")
_NUMBER = f"A number of dollars from 0 to {_DOLLARS_MOST:,}."


class PriceForm(msgspec.Struct):
    """What the form holds; each tier is a row of five fields."""

    model: str = ""
    since: str = msgspec.field(name="from", default="")
    input: str = ""
    output: str = ""
    cache_read: str = ""
    cache_write: str = ""
    above: list[str] = []
    tier_input: list[str] = []
    tier_output: list[str] = []
    tier_cache_read: list[str] = []
    tier_cache_write: list[str] = []

    def tiers(self) -> list[dict[str, str]]:
        """Return the rows of tiers, with some to fill in."""
        names = {"above": self.above, **{name: getattr(self, f"tier_{name}") for name in RATES}}
        count = max(map(len, names.values()))
        rows = [{name: (values[n] if n < len(values) else "") for name, values in names.items()} for n in range(count)]
        filled = [row for row in rows if any(value.strip() for value in row.values())]
        return filled + [dict.fromkeys(names, "")] * max(0, min(_EMPTY_TIERS, _TIERS_MOST - len(filled)))


def filled(price: Price) -> PriceForm:
    """Return the form as a price fills it."""
    rates = {name: _said(getattr(price.rates, name)) for name in RATES}
    tiers = {f"tier_{name}": [_said(getattr(tier.rates, name)) for tier in price.tiers] for name in RATES}
    return PriceForm(
        model=price.model,
        since="" if price.since is None else date_of(price.since).isoformat(),
        above=[str(tier.above) for tier in price.tiers],
        **rates,  # type: ignore[arg-type] # by name
        **tiers,  # type: ignore[arg-type]
    )


def price_of(form: PriceForm) -> tuple[Price | None, dict[str, str]]:
    """Return the price that a form stands for; or none, and what is wrong by field."""
    errors: dict[str, str] = {}
    model = form.model.strip()
    if not _MODEL.fullmatch(model):
        errors["model"] = "A model’s name: up to 100 letters, digits and signs, no spaces."
    since = _day(form.since.strip(), errors)
    rates = _rates({name: getattr(form, name) for name in RATES}, "", errors)
    tiers = []
    for n, row in enumerate(row for row in form.tiers() if any(row.values())):
        above = row["above"].strip().replace(",", "").replace("_", "")
        wrong = len(errors)
        if not (above.isascii() and above.isdigit() and 0 < int(above) <= _ABOVE_MOST):
            errors[f"above-{n}"] = "A number of tokens, as 200000."
        tier = _rates({name: row[name] for name in RATES}, f"-{n}", errors)
        if len(errors) == wrong:
            tiers.append(Tier(int(above), tier))
    if len({tier.above for tier in tiers}) < len(tiers):
        errors["above-0"] = "Two of these begin above the same number of tokens."
    if errors:
        return None, errors
    return Price(model, rates, since, tuple(sorted(tiers, key=lambda tier: tier.above))), {}


def day(text: str) -> int | None:
    """Return a first day as days since 1970, as the form has it: nothing is from ever. ValueError if it is no day."""
    if not text:
        return None
    when = date.fromisoformat(text)
    if not 1970 <= when.year < 2200:
        raise ValueError(text)
    return day_of(when)


def _day(text: str, errors: dict[str, str]) -> int | None:
    try:
        return day(text)
    except ValueError:
        errors["from"] = "A day between 1970 and 2200, or nothing."
        return None


def _rates(typed: dict[str, str], suffix: str, errors: dict[str, str]) -> Rates:
    found = []
    for name, text in typed.items():
        try:
            number = float(text.strip().removeprefix("$"))
        except ValueError:
            number = math.nan
        if not 0 <= number <= _DOLLARS_MOST:
            errors[f"{name}{suffix}"] = _NUMBER
        found.append(0 if math.isnan(number) or math.isinf(number) else round(number * MILLION))
    return Rates(*found)


def _said(micros: int) -> str:
    return f"{micros / MILLION:.6f}".rstrip("0").rstrip(".")
