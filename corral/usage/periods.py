"""Whole days of a time zone, and how they are found in a ledger whose days are those of UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import groupby
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from corral.base.errors import BadRequest
from corral.usage.ledger import MS_A_DAY

#: Days of each period: today, and those before it.
PERIODS = {"day": 1, "week": 7, "month": 30}
_LONGEST = 3_700
_EPOCH = date(1970, 1, 1)


class Part(msgspec.Struct, frozen=True):
    """A day of UTC as the zone cuts it: before its midnight, if that falls into the day, and after."""

    day: int  #: since 1970, UTC
    before: date
    after: date | None = None
    shift: int = MS_A_DAY  #: ms from the day's beginning to the zone's midnight


class Span(msgspec.Struct, frozen=True):
    """Days of a zone, the first and the last included."""

    first: date
    last: date
    zone: tzinfo

    @property
    def dates(self) -> list[date]:
        """Every day."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def before(self) -> Span:
        """As many days that come right before."""
        count = self.last - self.first + timedelta(days=1)
        return Span(self.first - count, self.last - count, self.zone)

    @property
    def began(self) -> int:
        """Its beginning in ms."""
        return _midnight(self.first, self.zone)

    @property
    def ended(self) -> int:
        """The beginning of what comes after it, in ms."""
        return _after(self.last, self.zone)

    @property
    def days(self) -> tuple[int, int]:
        """The first and the last day of UTC that it touches."""
        return self.began // MS_A_DAY, (self.ended - 1) // MS_A_DAY

    def parts(self) -> Iterator[Part]:
        """Yield the days of UTC that it touches."""
        first, last = self.days
        for day in range(first, last + 1):
            began = day * MS_A_DAY
            before = _date(began, self.zone)
            midnight = _midnight(before + timedelta(days=1), self.zone)
            if began < midnight < began + MS_A_DAY:
                yield Part(day, before, _date(midnight, self.zone), midnight - began)
            else:
                yield Part(day, before)


def later(parts: list[Part]) -> str | None:
    """Return the condition of SQL for lines after the zone's midnight in their day of UTC; None if none are."""
    if all(part.after is None for part in parts):
        return None
    runs = [(list(some)[-1].day, shift) for shift, some in groupby(parts, key=lambda part: part.shift)]
    cases = " ".join(f"WHEN day <= {day} THEN {shift}" for day, shift in runs[:-1])
    shift = f"CASE {cases} ELSE {runs[-1][1]} END" if cases else f"{runs[-1][1]}"
    return f"created_at % {MS_A_DAY} >= {shift}"


def day_of(when: date) -> int:
    """Return a date as days since 1970."""
    return (when - _EPOCH).days


def date_of(day: int) -> date:
    """Return days since 1970 as a date."""
    return date.fromordinal(_EPOCH.toordinal() + day)


def zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadRequest(f"tz: there is no time zone {name!r}; it looks like Europe/Berlin", field="tz") from error


def lately(period: str, zone: tzinfo, now: int) -> Span:
    """Return the days of a period that ends today."""
    today = _date(now, zone)
    return Span(today - timedelta(days=PERIODS[period] - 1), today, zone)


def present(period: str, zone: tzinfo, now: int) -> Span | None:
    """Return the calendar's day, week (from Monday) or month that it is now; None of a total: it never ends."""
    return _around(period, zone, now // 1000)


@lru_cache(maxsize=1024)
def _around(period: str, zone: tzinfo, second: int) -> Span | None:
    """Remember: many budgets have the same period, and are asked for it several times in a request."""
    today = _date(second * 1000, zone)
    match period:
        case "day":
            return Span(today, today, zone)
        case "week":
            monday = today - timedelta(days=today.weekday())
            return Span(monday, monday + timedelta(days=6), zone)
        case "month":
            return month(f"{today:%Y-%m}", zone)
    return None


def between(first: date, last: date, zone: tzinfo) -> Span:
    """Return the days from one to another."""
    if last < first:
        raise BadRequest(f"to: {last} is before {first}", field="to")
    if (last - first).days >= _LONGEST:
        raise BadRequest(f"from: a report may span at most {_LONGEST:,} days", field="from")
    _check(first, "from")
    _check(last, "to")
    return Span(first, last, zone)


def month(text: str, zone: tzinfo) -> Span:
    """Return the days of a month as `2026-11`."""
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise BadRequest(f"month: {text!r} is no month; it looks like 2026-11", field="month") from error
    _check(first, "month")
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return Span(first, following - timedelta(days=1), zone)


def _check(when: date, field: str) -> None:
    if not 1970 <= when.year < 2200:  # a calendar beyond that cannot be reckoned with
        raise BadRequest(f"{field}: {when} is not between 1970 and 2200", field=field)


@lru_cache(maxsize=4096)
def _midnight(when: date, zone: tzinfo) -> int:
    """Return the first moment of a day in ms: where clocks leap at midnight, that of the leap."""
    local = datetime(when.year, when.month, when.day, tzinfo=zone)
    return day_of(when) * MS_A_DAY - round((local.utcoffset() or timedelta()).total_seconds() * 1000)


@lru_cache(maxsize=4096)
def _after(when: date, zone: tzinfo) -> int:
    """Return the first moment after a day in ms."""
    return _midnight(when + timedelta(days=1), zone)


def _date(ms: int, zone: tzinfo) -> date:
    if zone is UTC:
        return date_of(ms // MS_A_DAY)
    return datetime.fromtimestamp(ms / 1000, zone).date()
