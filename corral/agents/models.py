"""Tables of agents, tasks, epics and messages. `no` is the key inside, `id` (UUIDv7) the name outside; times in ms."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Agent(Model):
    """Somebody who works: a role, a model, a place in the org chart."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    name = fields.CharField(max_length=200)
    role = fields.TextField()
    instructions = fields.TextField(null=True)
    model = fields.CharField(max_length=200, null=True)
    provider = fields.CharField(max_length=20, null=True)  # anthropic | openai | openrouter
    glyph = fields.CharField(max_length=16)
    manager_id = fields.CharField(max_length=36, null=True)
    team = fields.CharField(max_length=200, null=True)
    state = fields.CharField(max_length=10)  # active | paused | archived; idle, working, waiting follow the runs
    project_id = fields.CharField(max_length=36, null=True)
    cli_name = fields.CharField(max_length=30, null=True)  # with one it runs on a runner, without in the platform
    allowed_tools = fields.TextField()  # separated by commas
    max_turns = fields.IntField(null=True)
    provider_config = fields.TextField()  # JSON object
    autostart = fields.BooleanField(default=False)  # its tasks start by themselves
    inbox_seq = fields.BigIntField(default=0)  # of the last message sent to it
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "agents"
        indexes = (("org_id", "no"), ("org_id", "name"), ("manager_id",))


class Epic(Model):
    """Tasks that belong together."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    title = fields.CharField(max_length=200)
    description = fields.TextField()
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "epics"
        indexes = (("org_id", "no"),)


class Task(Model):
    """A unit of work for one agent. Its runs carry it out, and its status follows them."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    title = fields.CharField(max_length=200)
    input = fields.TextField()
    assignee_id = fields.CharField(max_length=36)
    requester_id = fields.CharField(max_length=36, null=True)  # the agent that handed it out
    created_by = fields.CharField(max_length=64)  # `user:<id>`, `key:<id>` or `run:<id>`
    priority = fields.SmallIntField(default=0)  # -1 low, 0 normal, 1 high: that of its runs
    epic_id = fields.CharField(max_length=36, null=True)
    parent_id = fields.CharField(max_length=36, null=True)
    root_id = fields.CharField(max_length=36)  # the task at the top of its tree; its own id there
    depth = fields.IntField(default=0)  # 0 at the top
    status = fields.CharField(max_length=10)  # pending | running | done | error | waiting
    result = fields.TextField(null=True)  # the final text
    error = fields.TextField(null=True)  # what went wrong, for people
    wanted_at = fields.BigIntField(null=True)  # when it was asked to start; null waits for that
    run_id = fields.CharField(max_length=36, null=True)  # its latest run
    retries = fields.IntField(default=0)  # how often a failure is tried again
    tries = fields.IntField(default=0)  # failures since it was last asked to start
    retry_at = fields.BigIntField(null=True)
    due_at = fields.BigIntField(null=True)  # a delegated task that has no end by then is ended

    origin_run_no = fields.BigIntField(null=True)  # the run that delegated it
    origin_call_no = fields.BigIntField(null=True)  # the tool call that waits for its result
    heard_at = fields.BigIntField(null=True)  # when that run was told its result
    content_hash = fields.CharField(max_length=64)  # of assignee and text: what no ancestor may repeat

    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()
    ended_at = fields.BigIntField(null=True)

    class Meta:
        table = "tasks"
        indexes = (
            ("org_id", "no"),
            ("org_id", "status", "no"),
            ("assignee_id", "status"),
            ("epic_id", "status"),
            ("root_id", "no"),
            ("parent_id",),
            ("origin_run_no",),
        )


class Block(Model):
    """A task that waits for another's end."""

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    task_id = fields.CharField(max_length=36)
    blocked_by = fields.CharField(max_length=36)

    class Meta:
        table = "task_blocks"
        unique_together = (("task_id", "blocked_by"),)
        indexes = (("blocked_by",),)


class Message(Model):
    """What was sent over the bus. An agent's inbox is its rows in the order of `inbox_seq`."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    type = fields.CharField(max_length=20)
    sender = fields.CharField(max_length=64)  # an agent's id, `user:<id>` or `key:<id>`
    receiver = fields.CharField(max_length=64)  # an agent's id, or a person as above
    text = fields.TextField()
    task_id = fields.CharField(max_length=36, null=True)
    run_id = fields.CharField(max_length=36, null=True)  # the run that sent it
    reply_to = fields.CharField(max_length=36, null=True)
    request_id = fields.CharField(max_length=64, null=True)  # of the request that sent it, for logs
    answer_run_id = fields.CharField(max_length=36, null=True)  # the run that was begun to answer it
    inbox_seq = fields.BigIntField(null=True)  # of its receiver, without gaps; null if that is a person
    created_at = fields.BigIntField()
    handled_at = fields.BigIntField(null=True)  # when it had its effect, in that transaction
    read_at = fields.BigIntField(null=True)  # when the agent was shown it
    tries = fields.IntField(default=0)  # how often handling it failed
    error = fields.TextField(null=True)  # why, the last time
    retry_at = fields.BigIntField(null=True)
    dead_at = fields.BigIntField(null=True)  # when it was given up

    class Meta:
        table = "messages"
        unique_together = (("receiver", "inbox_seq"),)
        indexes = (("org_id", "no"), ("org_id", "sender", "no"), ("org_id", "receiver", "no"), ("task_id",))
