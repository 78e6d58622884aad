"""A daemon's whole way, with a scripted server and a scripted worker."""

from __future__ import annotations

from collections.abc import Callable

from corral.wire.runner import Assignment
from tests.runner.conftest import Running, until
from tests.runner.fake_server import FakeServer

Assign = Callable[..., Assignment]


async def test_a_run_is_taken_streamed_and_ended(server: FakeServer, runner: Running, assign: Assign) -> None:
    run = server.offer(assign("message:hello usage:7 done:bye"))
    await until(lambda: "run.completed" in server.types(run.run_id))
    assert server.types(run.run_id) == ["run.started", "agent.message", "run.result", "run.completed"]
    assert [usage.output_tokens for usage in server.usage[run.run_id].values()] == [7]
    started = server.payloads(run.run_id, "run.started")[0]
    assert started["runner"] == "tester" and started["engine"] == "claude-code" and started["cwd"] == run.cwd
    assert server.order[:3] == ["health", "register", "poll"]
    assert server.authorizations == {"Bearer crl_test_key"}
    await until(lambda: server.polls[-1].held == [] and server.polls[-1].free_slots == 4)
