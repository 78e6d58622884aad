from __future__ import annotations

from corral.platform.limits import MemoryLimiter


def test_so_many_pass_in_any_minute_and_no_more() -> None:
    limiter = MemoryLimiter()
    passed = [limiter.hit("k", 3, now) for now in (0.0, 10.0, 20.0)]
    assert [(verdict.passes, verdict.remaining) for verdict in passed] == [(True, 2), (True, 1), (True, 0)]
    refused = limiter.hit("k", 3, 30.0)
    assert not refused.passes
    assert refused.headers() == {
        "RateLimit-Limit": "3",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "30",
        "Retry-After": "30",
    }
    assert limiter.hit("k", 3, 60.1).passes


def test_a_refused_request_does_not_count() -> None:
    limiter = MemoryLimiter()
    limiter.hit("k", 1, 0.0)
    for now in range(1, 60):
        assert not limiter.hit("k", 1, float(now)).passes
    assert limiter.hit("k", 1, 60.0).passes


def test_after_a_limit_was_lowered_so_many_must_fall_out_that_one_passes_again() -> None:
    limiter = MemoryLimiter()
    for now in (0.0, 10.0, 20.0, 30.0):
        limiter.hit("k", 4, now)
    refused = limiter.hit("k", 2, 40.0)
    assert (refused.passes, refused.limit, refused.remaining, refused.reset) == (False, 2, 0, 40)
    assert not limiter.hit("k", 2, 79.0).passes
    assert limiter.hit("k", 2, 80.0).passes


def test_each_key_has_a_minute_of_its_own_and_silent_ones_are_forgotten() -> None:
    limiter = MemoryLimiter()
    for name in range(100):
        assert limiter.hit(str(name), 1, 0.0).passes
    limiter.hit("one", 1, 1000.0)
    assert len(limiter._seen) == 1
