"""Corral's own tools, which every agent has: their schemas, and how a call of one travels."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec

#: The MCP server on which CLIs see the tools.
SERVER = "corral"


class Tool(StrEnum):
    """The tools by their bare names, which provider agents see."""

    DELEGATE_TASK = "delegate_task"
    CHECK_TASK = "check_task"
    SEND_MESSAGE = "send_message"
    READ_INBOX = "read_inbox"
    LIST_AGENTS = "list_agents"
    ASK_HUMAN = "ask_human"
    REPORT_PROGRESS = "report_progress"


Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200_000)]
To = Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="An agent's name or id.")]


class DelegateTask(msgspec.Struct, forbid_unknown_fields=True):
    """Hand a task to another agent.

    With `wait` the answer is the task's result. Without it the task's id comes back at once, you go on, and the
    result reaches you as a message: you may end your turn meanwhile.
    """

    to: To
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="A short label.")]
    input: Annotated[Text, msgspec.Meta(description="Everything the agent needs to know; it sees nothing else.")]
    priority: Annotated[str, msgspec.Meta(pattern="^(low|normal|high)$")] = "normal"
    wait: Annotated[bool, msgspec.Meta(description="Wait for the result.")] = False


class CheckTask(msgspec.Struct, forbid_unknown_fields=True):
    """Look at a task: its status, what it waits for, and its result."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=36, description="The task's id.")]


class SendMessage(msgspec.Struct, forbid_unknown_fields=True):
    """Send another agent a note, or a question that it will answer. `to` may be `*` for everybody."""

    to: To
    text: Text
    type: Annotated[str, msgspec.Meta(pattern="^(note|question|answer)$")] = "note"


class ReadInbox(msgspec.Struct, forbid_unknown_fields=True):
    """Read the messages sent to you that you have not read yet, oldest first."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


class ListAgents(msgspec.Struct, forbid_unknown_fields=True):
    """List the agents you can work with: ids, names, roles, teams, status."""


class AskHuman(msgspec.Struct, forbid_unknown_fields=True):
    """Ask a person and wait for the answer. Offer options where there are some."""

    question: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
    options: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=500)]], msgspec.Meta(max_length=20)
    ] = []


class ReportProgress(msgspec.Struct, forbid_unknown_fields=True):
    """Tell whoever gave you your task how far you are."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]


INPUTS: dict[Tool, type[msgspec.Struct]] = {
    Tool.DELEGATE_TASK: DelegateTask,
    Tool.CHECK_TASK: CheckTask,
    Tool.SEND_MESSAGE: SendMessage,
    Tool.READ_INBOX: ReadInbox,
    Tool.LIST_AGENTS: ListAgents,
    Tool.ASK_HUMAN: AskHuman,
    Tool.REPORT_PROGRESS: ReportProgress,
}


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as models are told of it."""

    name: str
    description: str
    input_schema: dict[str, Any]


class ToolCall(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/v1/tools/:name`, with the run's own token: the same `call_id` again is the same call."""

    call_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    input: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))  #: the tool's arguments
    wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=25)] = 25.0


class ToolAnswer(msgspec.Struct):
    """What the agent is told. Not `done`: somebody else's answer is awaited; ask again with the same `call_id`."""

    done: bool
    text: str = ""
    is_error: bool = False


def specs() -> list[ToolSpec]:
    """Return the tools with the JSON schemas of their inputs."""
    return [ToolSpec(tool.value, _description(type_), _schema(type_)) for tool, type_ in INPUTS.items()]


def run_token(run_id: str, lease: str) -> str:
    """Return the token with which a run's attempt calls the tools; good while the attempt is open."""
    return f"{RUN_TOKEN}{run_id}_{lease}"


#: What a run's own token begins with.
RUN_TOKEN = "crl_run_"


def _description(type_: type[msgspec.Struct]) -> str:
    return " ".join((type_.__doc__ or "").split())


def _schema(type_: type[msgspec.Struct]) -> dict[str, Any]:
    (_,), components = msgspec.json.schema_components([type_])
    schema = dict(components[type_.__name__])
    schema.pop("title", None)
    schema.pop("description", None)
    return schema
