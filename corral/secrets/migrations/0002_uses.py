"""Versions of secrets, and the record of their uses."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("secrets", "0001_initial")]

    initial = False

    operations = [
        ops.AddField(model_name="Secret", name="version", field=fields.IntField(db_default=1, default=1)),
        ops.CreateModel(
            name="SecretUse",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("secret_no", fields.BigIntField()),
                ("agent_id", fields.CharField(max_length=36)),
                ("key", fields.CharField(max_length=200)),
                ("version", fields.IntField()),
                ("used_by", fields.CharField(max_length=64)),
                ("attempt", fields.IntField(null=True)),
                ("used_at", fields.BigIntField()),
            ],
            options={
                "table": "secret_uses",
                "app": "secrets",
                "indexes": [Index(fields=["secret_no", "no"]), Index(fields=["org_id", "no"])],
                "pk_attr": "no",
                "table_description": "A secret was opened: which version, when, and for whom. Rows stay when the secret goes.",
            },
            bases=["Model"],
        ),
    ]
