"""Which answers mean try again, and which mean no."""

from __future__ import annotations

import pytest

from corral.runner.client import Client, Failed, Refused, Retryable
from corral.wire.events import EventBatch
from tests.runner.fake_server import FakeServer, error

EMPTY = EventBatch(1, "lease")


async def answer(server: FakeServer, status: int, body: object) -> Exception:
    server.refuse = lambda _path, _body: (status, body)
    client = Client(server.url, "crl_key")
    with pytest.raises((Retryable, Refused)) as caught:
        await client.send("run", EMPTY)
    await client.close()
    return caught.value


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_a_server_in_trouble_is_asked_again(server: FakeServer, status: int) -> None:
    assert isinstance(await answer(server, status, "<html>Bad gateway</html>"), Retryable)


async def test_too_many_requests_name_the_wait(server: FakeServer) -> None:
    refusal = await answer(server, 429, error("Slow down"))
    assert isinstance(refusal, Retryable)
    assert refusal.after == 1.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
async def test_a_refusal_holds_the_servers_own_words(server: FakeServer, status: int) -> None:
    refusal = await answer(server, status, error("Because I say so"))
    assert isinstance(refusal, Refused)
    assert (refusal.status, refusal.message) == (status, "Because I say so")
    assert refusal.is_about_the_key == (status in {401, 403})


@pytest.mark.parametrize("status", [404, 409])
async def test_a_proxys_not_found_ends_no_run(server: FakeServer, status: int) -> None:
    assert isinstance(await answer(server, status, "default backend"), Retryable)


async def test_a_page_instead_of_an_answer_is_no_answer(server: FakeServer) -> None:
    assert isinstance(await answer(server, 200, "<html>Welcome to nginx</html>"), Retryable)


async def test_no_server_at_all_is_worth_another_try(server: FakeServer) -> None:
    await server.stop()
    client = Client(server.url, "crl_key")
    with pytest.raises(Retryable, match="does not answer"):
        await client.is_up()
    await client.close()


@pytest.mark.parametrize("status", [403, 503])
async def test_each_call_has_an_id_which_its_failure_names(server: FakeServer, status: int) -> None:
    failures = [await answer(server, status, error("No")) for _ in range(2)]
    assert [failure.told for failure in failures if isinstance(failure, Failed)] == [
        {"why": str(failure), "call": call} for failure, call in zip(failures, server.request_ids, strict=True)
    ]
    assert len({*server.request_ids}) == 2
