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

#: What 0003 closes with a run, and what it was still to be told.
_CLOSE = (
    "UPDATE commands SET done_at = NEW.ended_at, status = 'dropped' WHERE run_no = NEW.no AND done_at IS NULL; "
    "UPDATE approvals SET status = 'withdrawn', answered_at = NEW.ended_at WHERE run_no = NEW.no AND status = 'pending'; "
    "UPDATE inputs SET done_at = NEW.ended_at WHERE run_no = NEW.no AND done_at IS NULL;"
)
_WHEN = "WHEN (NEW.status IN ('completed', 'failed', 'cancelled'))"
_SQLITE = [
    "DROP TRIGGER IF EXISTS runs_ended",
    f"CREATE TRIGGER runs_ended AFTER UPDATE OF status ON runs {_WHEN} BEGIN {_CLOSE} END",
]
_POSTGRES = [
    (
        "CREATE OR REPLACE FUNCTION run_ended() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {_CLOSE} RETURN NULL; END $$"
    )
]


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_what_ends_with_a_run")]

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
        DialectSql(sqlite=[*_HOT, *_SQLITE], postgres=[*_HOT, *_POSTGRES]),
    ]
