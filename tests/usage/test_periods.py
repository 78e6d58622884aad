"""Days of time zones: the ledger knows those of UTC only, and no line may fall between two days, or into both."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.base.errors import BadRequest
from corral.usage import periods
from corral.usage.ledger import MS_A_DAY
from corral.usage.periods import Span, later

BERLIN = periods.zone("Europe/Berlin")
ZONES = (
    "UTC Europe/Berlin Europe/London America/New_York America/Los_Angeles America/St_Johns Asia/Kolkata Asia/Kathmandu "
    "Pacific/Auckland Pacific/Kiritimati Pacific/Chatham Australia/Lord_Howe Atlantic/Azores America/Havana "
    "Asia/Beirut Africa/Cairo America/Santiago Africa/Casablanca Pacific/Apia"
).split()
#: 2010 to 2030.
moments = st.integers(1_262_304_000_000, 1_893_456_000_000)


@given(zone=st.sampled_from(ZONES), at=moments)
def test_every_moment_belongs_to_the_day_that_a_clock_on_the_wall_says(zone: str, at: int) -> None:
    there = periods.zone(zone)
    said = datetime.fromtimestamp(at // 1000, there).date()
    span = Span(said - timedelta(days=2), said + timedelta(days=2), there)
    (part,) = [part for part in span.parts() if part.day == at // MS_A_DAY]
    is_later = part.after is not None and at % MS_A_DAY >= part.shift
    assert (part.after if is_later else part.before) == said


@given(zone=st.sampled_from(ZONES), at=moments, length=st.integers(1, 60))
def test_a_span_begins_and_ends_where_its_days_do(zone: str, at: int, length: int) -> None:
    there = periods.zone(zone)
    first = datetime.fromtimestamp(at // 1000, there).date()
    span = Span(first, first + timedelta(days=length - 1), there)
    for moment, inside in ((span.began, True), (span.began - 1, False), (span.ended - 1, True), (span.ended, False)):
        said = datetime.fromtimestamp(moment / 1000, there).date()
        assert (span.first <= said <= span.last) == inside


def test_days_of_utc_need_no_condition() -> None:
    assert later(list(Span(date(2026, 11, 1), date(2026, 11, 30), UTC).parts())) is None


def test_a_leap_of_the_clocks_is_part_of_the_condition() -> None:
    condition = later(list(Span(date(2026, 10, 20), date(2026, 10, 30), BERLIN).parts()))
    assert condition is not None
    assert condition.count("WHEN") == 1
    quiet = later(list(Span(date(2026, 11, 1), date(2026, 11, 30), BERLIN).parts()))
    assert quiet == f"created_at % {MS_A_DAY} >= {23 * 3_600_000}"


def test_a_month_has_all_its_days() -> None:
    assert len(periods.month("2026-11", UTC).dates) == 30
    assert len(periods.month("2028-02", BERLIN).dates) == 29
    assert periods.month("2026-12", UTC).last == date(2026, 12, 31)


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "x", "0001-01", "9999-12"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as error:
        periods.month(text, UTC)
    assert error.value.field == "month"


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "", "Europe", "Europe/Berlin\n", "x" * 100])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(BadRequest) as error:
        periods.zone(name)
    assert error.value.field == "tz"


def test_a_report_ends_after_it_begins_and_within_ten_years() -> None:
    for first, last in ((date(2026, 11, 2), date(2026, 11, 1)), (date(2000, 1, 1), date(2026, 1, 1))):
        with pytest.raises(BadRequest):
            periods.between(first, last, UTC)
