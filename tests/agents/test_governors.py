"""What keeps a fleet from running away: each limit is an error to the agent, and an event that people see."""

from __future__ import annotations

from typing import Any

import pytest

from corral.agents import board
from corral.platform import policy
from tests.agents.office import Office, Work, pass_time


async def refused(work: Work, to: Any, text: str, code: str, **more: Any) -> None:
    answer = await work.hands(to, text, **more)
    assert answer.is_error
    assert answer.text.startswith(f"Refused ({code}): ")
    told = (await work.told())[-1]
    assert (told["type"], told["tool"], told["code"]) == ("bus.refused", "delegate_task", code)
    assert told["message"] in answer.text


async def rules(office: Office, **fields: Any) -> None:
    await policy.change(office.org_id, fields)


async def test_tasks_are_handed_on_so_deep_and_no_deeper(office: Office) -> None:
    agents = [await office.agent(f"Agent {n}") for n in range(4)]
    await rules(office, max_depth=2)
    work = await office.at_work(agents[0])
    for agent in agents[1:3]:
        assert not (await work.hands(agent, f"to {agent.name}")).is_error
        await office.post()
        work = await office.work()
    await refused(work, agents[3], "too deep", "depth")


async def test_a_run_sends_so_much_and_no_more(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    await rules(office, max_fan_out=3)
    work = await office.at_work(ada)
    await work.hands(bob, "one")
    await work.calls_tool("send_message", to="Bob", text="two")
    await work.hands(bob, "three")
    await refused(work, bob, "four", "fan_out")
    answer = await work.calls_tool("send_message", to="Bob", text="five")
    assert answer.text.startswith("Refused (fan_out)")
    assert (await work.told())[-1]["tool"] == "send_message"


async def test_an_agent_has_so_many_open_tasks_and_no_more(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    await rules(office, max_open_tasks=2)
    work = await office.at_work(ada)
    first = await office.task(bob, "a person's")
    assert not (await work.hands(bob, "one")).is_error
    await refused(work, bob, "two", "open_tasks")
    await board.update(office.org_id, first.id, {"status": "done"})
    assert not (await work.hands(bob, "two")).is_error


async def test_a_tree_makes_so_many_tasks_an_hour_and_no_more(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    await rules(office, max_tasks_per_hour=3)
    work = await office.at_work(ada)
    for text in ("one", "two"):
        assert not (await work.hands(bob, text)).is_error
    await refused(work, bob, "three", "per_hour")
    root = (await work.run()).task_id or ""
    await pass_time("tasks", "created_at", 3601, root_id=root)
    assert not (await work.hands(bob, "three")).is_error


async def test_two_agents_that_ask_each_other_the_same_thing_are_stopped(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada, "Solve it")
    assert not (await work.hands(bob, "Solve it", wait=True)).is_error
    await office.post()
    work = await office.work()
    await refused(work, ada, "  solve\n IT ", "repeated", wait=True)
    await refused(work, bob, "Solve it", "repeated")
    assert not (await work.hands(ada, "Solve this part of it")).is_error


@pytest.mark.parametrize(
    ("whom", "allowed"),
    [("anyone", {"report", "peer", "stranger"}), ("team", {"report", "peer"}), ("reports", {"report"})],
)
async def test_work_is_handed_to_whom_the_org_lets(office: Office, whom: str, allowed: set[str]) -> None:
    boss = await office.agent("Boss", team="red")
    them = {
        "report": await office.agent("Report", manager_id=boss.id, team="blue"),
        "peer": await office.agent("Peer", team="red"),
        "stranger": await office.agent("Stranger", team="blue"),
    }
    await rules(office, delegate_to=policy.DelegateTo(whom))
    work = await office.at_work(boss)
    for name, agent in them.items():
        if name in allowed:
            assert not (await work.hands(agent, name)).is_error
        else:
            await refused(work, agent, name, "policy")
            assert agent.name in (await work.told())[-1]["message"]


async def test_agents_without_a_team_are_no_team(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    await rules(office, delegate_to=policy.DelegateTo.TEAM)
    await refused(await office.at_work(ada), bob, "help", "policy")


async def test_a_refused_task_leaves_nothing_behind(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    await rules(office, max_fan_out=0)
    work = await office.at_work(ada)
    await refused(work, bob, "help", "fan_out", wait=True)
    assert await board.page(office.org_id, assignee=bob.id) == []
    assert await office.messages() == []
    await work.ends()
    assert (await work.run()).status == "completed"


async def test_what_is_not_set_keeps_its_value(office: Office) -> None:
    await rules(office, max_depth=3)
    await rules(office, due_hours=1.5)
    assert await policy.get(office.org_id) == policy.Policy(max_depth=3, due_hours=1.5)
