"""Logs of deleted runs, which are removed piece by piece."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("runs", "0007_reservations")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Remains",
            fields=[
                ("run_no", fields.BigIntField(primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
            ],
            options={
                "table": "remains",
                "app": "runs",
                "pk_attr": "run_no",
                "table_description": "The log of a run that was deleted, until all of it is gone.",
            },
            bases=["Model"],
        ),
    ]
