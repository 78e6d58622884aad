from __future__ import annotations

from corral.platform.limits import Limiter


def test_so_many_pass_in_any_minute_and_no_more() -> None:
    limiter = Limiter(3)
    passed = [limiter.hit("k", now) for now in (0.0, 10.0, 20.0)]
    assert [verdict and (verdict.passes, verdict.remaining) for verdict in passed] == [(True, 2), (True, 1), (True, 0)]
    refused = limiter.hit("k", 30.0)
    assert refused is not None
    assert not refused.passes
    assert refused.headers() == {
        "RateLimit-Limit": "3",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "30",
        "Retry-After": "30",
    }
    after = limiter.hit("k", 60.1)
    assert after is not None
    assert after.passes


def test_a_refused_request_does_not_count() -> None:
    limiter = Limiter(1)
    limiter.hit("k", 0.0)
    for now in range(1, 60):
        verdict = limiter.hit("k", float(now))
        assert verdict is not None
        assert not verdict.passes
    verdict = limiter.hit("k", 60.0)
    assert verdict is not None
    assert verdict.passes


def test_each_key_has_a_minute_of_its_own_and_silent_ones_are_forgotten() -> None:
    limiter = Limiter(1)
    for name in range(100):
        verdict = limiter.hit(str(name), 0.0)
        assert verdict is not None
        assert verdict.passes
    limiter.hit("one", 1000.0)
    assert len(limiter._seen) == 1


def test_no_limit_counts_nothing() -> None:
    limiter = Limiter(0)
    assert limiter.hit("k") is None
    assert not limiter._seen
