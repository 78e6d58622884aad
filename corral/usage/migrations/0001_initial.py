"""The first tables."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields
from tortoise.indexes import Index


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="UsageLine",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("run_no", fields.BigIntField()),
                ("source", fields.CharField(max_length=200)),
                ("day", fields.IntField()),
                ("model", fields.CharField(max_length=100)),
                ("input_tokens", fields.BigIntField()),
                ("output_tokens", fields.BigIntField()),
                ("cache_read_tokens", fields.BigIntField()),
                ("cache_write_tokens", fields.BigIntField()),
                ("cost_micros", fields.BigIntField(null=True)),
                ("estimated", fields.BooleanField(default=False)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "usage_lines",
                "app": "usage",
                "unique_together": (("run_no", "source"),),
                "indexes": [Index(fields=["org_id", "day"])],
                "pk_attr": "id",
                "table_description": "One delta of one run. Unique by (run, source): a replay adds nothing.",
            },
            bases=["Model"],
        ),
    ]
