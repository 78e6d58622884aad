"""The first tables."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields
from tortoise.indexes import Index

from corral.platform.migrating import DialectSql

_HOT = [
    "CREATE INDEX messages_open ON messages (receiver, inbox_seq) WHERE handled_at IS NULL AND dead_at IS NULL",
    (
        "CREATE INDEX messages_unread ON messages (receiver, inbox_seq) "
        "WHERE inbox_seq IS NOT NULL AND read_at IS NULL AND type <> 'task.assigned'"
    ),
    "CREATE INDEX messages_dead ON messages (org_id, no) WHERE dead_at IS NOT NULL",
    "CREATE INDEX tasks_made ON tasks (org_id, created_at, assignee_id)",
    "CREATE INDEX tasks_to_retry ON tasks (retry_at) WHERE retry_at IS NOT NULL",
    "CREATE INDEX tasks_due ON tasks (due_at) WHERE due_at IS NOT NULL AND ended_at IS NULL",
    "CREATE INDEX messages_to_answer ON messages (answer_run_id) WHERE answer_run_id IS NOT NULL",
    "CREATE UNIQUE INDEX tasks_of_call ON tasks (origin_call_no) WHERE origin_call_no IS NOT NULL",
]


class Migration(migrations.Migration):
    initial = True

    dependencies = [("platform", "0002_clock")]

    operations = [
        ops.CreateModel(
            name="Agent",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("id", fields.CharField(unique=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("name", fields.CharField(max_length=200)),
                ("role", fields.TextField(unique=False)),
                ("instructions", fields.TextField(null=True, unique=False)),
                ("model", fields.CharField(null=True, max_length=200)),
                ("provider", fields.CharField(null=True, max_length=20)),
                ("glyph", fields.CharField(max_length=16)),
                ("manager_id", fields.CharField(null=True, max_length=36)),
                ("team", fields.CharField(null=True, max_length=200)),
                ("state", fields.CharField(max_length=10)),
                ("project_id", fields.CharField(null=True, max_length=36)),
                ("cli_name", fields.CharField(null=True, max_length=30)),
                ("allowed_tools", fields.TextField(unique=False)),
                ("max_turns", fields.IntField(null=True)),
                ("provider_config", fields.TextField(unique=False)),
                ("autostart", fields.BooleanField(default=False)),
                ("inbox_seq", fields.BigIntField(default=0)),
                ("created_at", fields.BigIntField()),
                ("updated_at", fields.BigIntField()),
            ],
            options={
                "table": "agents",
                "app": "agents",
                "indexes": [
                    Index(fields=["org_id", "no"]),
                    Index(fields=["org_id", "name"]),
                    Index(fields=["manager_id"]),
                ],
                "pk_attr": "no",
                "table_description": "Somebody who works: a role, a model, a place in the org chart.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Block",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("task_id", fields.CharField(max_length=36)),
                ("blocked_by", fields.CharField(max_length=36)),
            ],
            options={
                "table": "task_blocks",
                "app": "agents",
                "unique_together": (("task_id", "blocked_by"),),
                "indexes": [Index(fields=["blocked_by"])],
                "pk_attr": "id",
                "table_description": "A task that waits for another's end.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Epic",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("id", fields.CharField(unique=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("title", fields.CharField(max_length=200)),
                ("description", fields.TextField(unique=False)),
                ("created_at", fields.BigIntField()),
                ("updated_at", fields.BigIntField()),
            ],
            options={
                "table": "epics",
                "app": "agents",
                "indexes": [Index(fields=["org_id", "no"])],
                "pk_attr": "no",
                "table_description": "Tasks that belong together.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Message",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("id", fields.CharField(unique=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("type", fields.CharField(max_length=20)),
                ("sender", fields.CharField(max_length=64)),
                ("receiver", fields.CharField(max_length=64)),
                ("text", fields.TextField(unique=False)),
                ("task_id", fields.CharField(null=True, max_length=36)),
                ("run_id", fields.CharField(null=True, max_length=36)),
                ("reply_to", fields.CharField(null=True, max_length=36)),
                ("answer_run_id", fields.CharField(null=True, max_length=36)),
                ("inbox_seq", fields.BigIntField(null=True)),
                ("created_at", fields.BigIntField()),
                ("handled_at", fields.BigIntField(null=True)),
                ("read_at", fields.BigIntField(null=True)),
                ("tries", fields.IntField(default=0)),
                ("error", fields.TextField(null=True, unique=False)),
                ("retry_at", fields.BigIntField(null=True)),
                ("dead_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "messages",
                "app": "agents",
                "unique_together": (("receiver", "inbox_seq"),),
                "indexes": [
                    Index(fields=["org_id", "no"]),
                    Index(fields=["org_id", "sender", "no"]),
                    Index(fields=["org_id", "receiver", "no"]),
                    Index(fields=["task_id"]),
                ],
                "pk_attr": "no",
                "table_description": "What was sent over the bus. An agent's inbox is its rows in the order of `inbox_seq`.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Task",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("id", fields.CharField(unique=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("title", fields.CharField(max_length=200)),
                ("input", fields.TextField(unique=False)),
                ("assignee_id", fields.CharField(max_length=36)),
                ("requester_id", fields.CharField(null=True, max_length=36)),
                ("created_by", fields.CharField(max_length=64)),
                ("priority", fields.SmallIntField(default=0)),
                ("epic_id", fields.CharField(null=True, max_length=36)),
                ("parent_id", fields.CharField(null=True, max_length=36)),
                ("root_id", fields.CharField(max_length=36)),
                ("depth", fields.IntField(default=0)),
                ("status", fields.CharField(max_length=10)),
                ("result", fields.TextField(null=True, unique=False)),
                ("error", fields.TextField(null=True, unique=False)),
                ("wanted_at", fields.BigIntField(null=True)),
                ("run_id", fields.CharField(null=True, max_length=36)),
                ("retries", fields.IntField(default=0)),
                ("tries", fields.IntField(default=0)),
                ("retry_at", fields.BigIntField(null=True)),
                ("due_at", fields.BigIntField(null=True)),
                ("origin_run_no", fields.BigIntField(null=True)),
                ("origin_call_no", fields.BigIntField(null=True)),
                ("heard_at", fields.BigIntField(null=True)),
                ("content_hash", fields.CharField(max_length=64)),
                ("created_at", fields.BigIntField()),
                ("updated_at", fields.BigIntField()),
                ("ended_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "tasks",
                "app": "agents",
                "indexes": [
                    Index(fields=["org_id", "no"]),
                    Index(fields=["org_id", "status", "no"]),
                    Index(fields=["assignee_id", "status"]),
                    Index(fields=["epic_id", "status"]),
                    Index(fields=["root_id", "no"]),
                    Index(fields=["parent_id"]),
                    Index(fields=["origin_run_no"]),
                ],
                "pk_attr": "no",
                "table_description": "A unit of work for one agent. Its runs carry it out, and its status follows them.",
            },
            bases=["Model"],
        ),
        DialectSql(sqlite=_HOT, postgres=_HOT),
    ]
