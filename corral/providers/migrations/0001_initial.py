"""The first tables."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="Conversation",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("session_id", fields.CharField(max_length=36)),
                ("idx", fields.IntField()),
                ("run_id", fields.CharField(max_length=36)),
                ("entry", fields.TextField(unique=False)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "conversation",
                "app": "providers",
                "unique_together": (("session_id", "idx"),),
                "pk_attr": "id",
                "table_description": "One entry of a conversation with a model, which is only ever added to. Its session is the run that began it.",
            },
            bases=["Model"],
        ),
    ]
