"""What the tests of the Fleetrun reference share: its tables of fields, and short words for what they do."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import httpx

from tests.support.http import JSON, Api, frames

UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"

CREATE_AGENT = """
namestringyesDisplay name.
rolestringyesSystem prompt / role description.
modelstringyesModel ID (e.g. claude-sonnet-4-5).
providerstringyesProvider key (anthropic | openai | openrouter).
glyphstringyesSingle emoji used as the agent avatar.
managerstringnoAgent ID of this agent's supervisor.
teamstringnoTeam name to assign the agent to.
"""
CREATE_TASK = """
titlestringyesShort label for the task.
inputstringyesFull prompt / payload sent to the agent.
assigneestringyesAgent ID to assign the task to.
requesterstringnoAgent ID that created the task.
prioritystringnolow | normal | high. Defaults to normal.
epic_idstringnoAssociate with an epic.
"""
TASK_STATUSES = "pending | running | done | error | waiting"
EVENT_TYPES = {"thinking", "tool_call", "tool_result", "output", "error"}

AGENT_FIELDS = set(
    "id name role instructions model provider glyph manager team status project_id cli_name allowed_tools max_turns "
    "provider_config created_at updated_at".split()
)
TASK_FIELDS = set("id title input assignee requester priority epic_id status created_at updated_at".split())
MESSAGE_FIELDS = set("id type sender receiver text task_id run_id reply_to created_at".split())
USAGE_FIELDS = {"total_tokens", "task_count", "by_agent", "by_model", "daily_breakdown"}


class Field(NamedTuple):
    name: str
    required: bool
    choices: list[str]


def table(text: str) -> list[Field]:
    """Read a table of the reference."""
    found = []
    for line in text.strip().splitlines():
        match = re.fullmatch(r"(\w+?)(?:string)(yes|no)(.*)", line)
        assert match, line
        choices = re.findall(r"(\w+)(?= \||[.)])", match[3]) if "|" in match[3] else []
        found.append(Field(match[1], match[2] == "yes", [choice for choice in choices if choice.islower()]))
    return found


def agent(api: Api, **more: Any) -> JSON:
    fields = {
        "name": "Ada",
        "role": "You write code.",
        "model": "claude-sonnet-4-5",
        "provider": "anthropic",
        "glyph": "🦊",
        **more,
    }
    answer = api.post("/api/agents", body=fields)
    assert answer.status_code == 201, answer.text
    made: JSON = answer.json()
    return made


def worker(api: Api, cwd: str = "/srv", **more: Any) -> JSON:
    """An agent that works on a runner."""
    return agent(api, cli_name="claude-code", provider_config={"cwd": cwd}, **more)


def task(api: Api, assignee: JSON, **more: Any) -> JSON:
    answer = api.post("/api/tasks", body={"title": "A task", "input": "Do it", "assignee": assignee["id"], **more})
    assert answer.status_code == 201, answer.text
    made: JSON = answer.json()
    return made


def shown(api: Api, made: JSON) -> JSON:
    answer: JSON = api.get("/api/tasks/:id", made["id"]).raise_for_status().json()
    return answer


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


def told(response: httpx.Response) -> list[JSON]:
    assert response.status_code == 200, response.read()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    return [frame.json() for frame in frames(response)]
