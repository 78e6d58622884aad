"""Budgets, their alerts, and the tree of tasks that a line is for; what trees and keys spent is read from an index."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from corral.platform.migrating import DialectSql

#: What a budget's sum reads, and nothing else.
_COSTS = "created_at, cost_micros, computed_micros"


class Migration(migrations.Migration):
    dependencies = [("usage", "0004_drafts")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Budget",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("id", fields.CharField(unique=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("scope", fields.CharField(max_length=10)),
                ("target", fields.CharField(max_length=200)),
                ("name", fields.CharField(max_length=200)),
                ("limit_micros", fields.BigIntField()),
                ("period", fields.CharField(max_length=10)),
                ("tz", fields.CharField(max_length=100)),
                ("hard", fields.BooleanField()),
                ("created_by", fields.CharField(max_length=64)),
                ("created_at", fields.BigIntField()),
                ("updated_at", fields.BigIntField()),
            ],
            options={
                "table": "budgets",
                "app": "usage",
                "unique_together": (("org_id", "scope", "target", "period"),),
                "pk_attr": "no",
                "table_description": "What an org, a team, an agent, a tree of tasks or a key may spend in a period.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="BudgetAlert",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("budget_no", fields.BigIntField()),
                ("period_start", fields.BigIntField()),
                ("percent", fields.SmallIntField()),
                ("limit_micros", fields.BigIntField()),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "budget_alerts",
                "app": "usage",
                "unique_together": (("budget_no", "period_start", "percent"),),
                "indexes": [Index(fields=["org_id", "id"])],
                "pk_attr": "id",
                "table_description": "So much of a budget was spent in a period. Told once.",
            },
            bases=["Model"],
        ),
        ops.AddField(model_name="UsageLine", name="tree_id", field=fields.CharField(null=True, max_length=36)),
        ops.AddField(model_name="UsageDraft", name="tree_id", field=fields.CharField(null=True, max_length=36)),
        DialectSql(
            sqlite=[
                f"CREATE INDEX usage_{one} ON usage_lines (org_id, {one}_id, {_COSTS}) WHERE {one}_id IS NOT NULL"
                for one in ("tree", "key")
            ],
            postgres=[
                f"CREATE INDEX usage_{one} ON usage_lines (org_id, {one}_id, created_at) "
                f"INCLUDE (cost_micros, computed_micros) WHERE {one}_id IS NOT NULL"
                for one in ("tree", "key")
            ],
        ),
    ]
