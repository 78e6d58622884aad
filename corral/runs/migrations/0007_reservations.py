"""The money that budgets keep for runs."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("runs", "0006_pause")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Reservation",
            fields=[
                ("run_no", fields.BigIntField(primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("attempt", fields.IntField(default=0)),
                ("base_micros", fields.BigIntField()),
                ("granted_micros", fields.BigIntField()),
            ],
            options={
                "table": "reservations",
                "app": "runs",
                "indexes": [Index(fields=["org_id"])],
                "pk_attr": "run_no",
                "table_description": "Money that budgets keep for a run, or, of a run that is held or paused for want of it, none.",
            },
            bases=["Model"],
        ),
    ]
