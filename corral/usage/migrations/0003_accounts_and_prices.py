"""What lines are counted for, what they cost by which prices, and the index that reports read alone."""

from typing import Any

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from corral.platform.migrating import DialectSql

#: `created_at` tells days of other time zones.
_SUMS = "created_at, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_micros, computed_micros"
_GROUPS = "org_id, day, agent_id, model, team"
#: The few lines that a statement has something to say about.
_DOUBTFUL = (
    "CREATE INDEX usage_doubtful ON usage_lines (org_id, day) "
    "WHERE estimated OR (cost_micros IS NULL AND computed_micros IS NULL)"
)
_DROP = "DROP INDEX usage_report"


def _column(name: str, field: Any) -> ops.AddField:
    return ops.AddField(model_name="UsageLine", name=name, field=field)


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_agent")]

    initial = False

    operations = [
        _column("run_id", fields.CharField(null=True, max_length=36)),
        _column("computed_micros", fields.BigIntField(null=True)),
        _column("price_version", fields.BigIntField(null=True)),
        _column("team", fields.CharField(null=True, max_length=200)),
        _column("task_id", fields.CharField(null=True, max_length=36)),
        _column("epic_id", fields.CharField(null=True, max_length=36)),
        _column("key_id", fields.CharField(null=True, max_length=36)),
        _column("user_id", fields.CharField(null=True, max_length=36)),
        _column("labels", fields.TextField(null=True, unique=False)),
        ops.AddIndex(model_name="UsageLine", index=Index(fields=["org_id", "id"])),
        ops.CreateModel(
            name="PriceList",
            fields=[
                ("version", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("fingerprint", fields.CharField(max_length=64)),
                ("created_by", fields.CharField(max_length=64)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "price_lists",
                "app": "usage",
                "indexes": [Index(fields=["org_id", "version"])],
                "pk_attr": "version",
                "table_description": "A version of an org's own prices, or, of org 0, of the built-in ones. Never changed.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Price",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("version", fields.BigIntField()),
                ("position", fields.IntField()),
                ("model", fields.CharField(max_length=100)),
                ("since", fields.IntField(null=True)),
                ("input", fields.BigIntField()),
                ("output", fields.BigIntField()),
                ("cache_read", fields.BigIntField()),
                ("cache_write", fields.BigIntField()),
                ("tiers", fields.TextField(unique=False)),
            ],
            options={
                "table": "prices",
                "app": "usage",
                "unique_together": (("version", "position"),),
                "pk_attr": "id",
                "table_description": "What models of a name cost from a day on, in one version. Rates: millionths of a dollar a million tokens.",
            },
            bases=["Model"],
        ),
        DialectSql(
            sqlite=[_DROP, f"CREATE INDEX usage_report ON usage_lines ({_GROUPS}, {_SUMS})", _DOUBTFUL],
            postgres=[_DROP, f"CREATE INDEX usage_report ON usage_lines ({_GROUPS}) INCLUDE ({_SUMS})", _DOUBTFUL],
        ),
    ]
