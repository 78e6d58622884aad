"""Whose run it is, what it must still be told, and its calls of Corral's own tools."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields
from tortoise.indexes import Index

from corral.platform.migrating import DialectSql

_HOT = [
    "CREATE INDEX runs_of_agent ON runs (agent_id, no) WHERE agent_id IS NOT NULL",
    (
        "CREATE INDEX runs_of_agent_open ON runs (agent_id, priority DESC, no) "
        "WHERE agent_id IS NOT NULL AND status IN ('queued', 'running', 'waiting', 'paused')"
    ),
    "CREATE INDEX runs_of_task ON runs (task_id, no) WHERE task_id IS NOT NULL",
]


class Migration(migrations.Migration):
    dependencies = [("runs", "0002_log_and_hot_indexes")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Call",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("run_no", fields.BigIntField()),
                ("call_id", fields.CharField(max_length=100)),
                ("attempt", fields.IntField()),
                ("tool", fields.CharField(max_length=40)),
                ("input_hash", fields.CharField(max_length=64)),
                ("answer", fields.TextField(null=True, unique=False)),
                ("is_error", fields.BooleanField(default=False)),
                ("created_at", fields.BigIntField()),
                ("done_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "calls",
                "app": "runs",
                "unique_together": (("run_no", "call_id"),),
                "indexes": [Index(fields=["run_no", "input_hash"])],
                "pk_attr": "no",
                "table_description": "An agent's call of one of Corral's tools, and its answer.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Input",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("run_no", fields.BigIntField()),
                ("text", fields.TextField(unique=False)),
                ("created_at", fields.BigIntField()),
                ("done_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "inputs",
                "app": "runs",
                "indexes": [Index(fields=["run_no", "no"])],
                "pk_attr": "no",
                "table_description": "Something a run must be told, by its live attempt or by its next one.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="Approval",
            name="call_no",
            field=fields.BigIntField(null=True),
        ),
        ops.AddField(
            model_name="Run",
            name="agent",
            field=fields.TextField(null=True, unique=False),
        ),
        ops.AddField(
            model_name="Run",
            name="agent_id",
            field=fields.CharField(null=True, max_length=36),
        ),
        ops.AddField(
            model_name="Run",
            name="awaits",
            field=fields.IntField(default=0, db_default=0),
        ),
        ops.AddField(
            model_name="Run",
            name="task_id",
            field=fields.CharField(null=True, max_length=36),
        ),
        DialectSql(sqlite=_HOT, postgres=_HOT),
    ]
