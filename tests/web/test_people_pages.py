"""The page of people, as who invites them meets it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corral.platform import plans
from corral.platform.plans import Plan, Plans
from tests.web.conftest import Person


def test_an_invitation_beyond_the_plan_is_told_the_limit_and_led_to_the_plan(
    person: Callable[[str], Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = person("owner")
    small = Plan("small", {"seats": 1})
    monkeypatch.setattr(plans, "_plans", Plans({"small": small}, small))
    refused = owner.post("/app/people/invite", email="grace@example.org", role="member")
    assert refused.status_code == 400
    notice = refused.text.partition('<section class="notice failure" role="alert">')[2].partition("</section>")[0]
    assert "Your plan, small, allows 1 person or open invitation (seats), and you have reached that." in notice
    assert 'href="/app/plan"' in notice
    assert "email-wrong" not in refused.text
    assert "aria-invalid" not in refused.text
    assert 'value="grace@example.org"' in refused.text
    assert "grace@example.org" not in owner.get("/app/people")  # nobody was invited
