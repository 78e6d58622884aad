"""The first tables."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="DataKey",
            fields=[
                ("org_id", fields.BigIntField(primary_key=True, unique=True, db_index=True)),
                ("master", fields.CharField(max_length=16)),
                ("wrapped", fields.BinaryField()),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "data_keys",
                "app": "secrets",
                "pk_attr": "org_id",
                "table_description": "The key of an org's secrets, sealed with the master key.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Secret",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("agent_id", fields.CharField(max_length=36)),
                ("key", fields.CharField(max_length=200)),
                ("sealed", fields.BinaryField()),
                ("created_at", fields.BigIntField()),
                ("updated_at", fields.BigIntField()),
            ],
            options={
                "table": "secrets",
                "app": "secrets",
                "unique_together": (("org_id", "agent_id", "key"),),
                "pk_attr": "no",
                "table_description": "A secret of an org, or of one of its agents.",
            },
            bases=["Model"],
        ),
    ]
