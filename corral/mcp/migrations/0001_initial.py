"""The first tables."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields
from tortoise.indexes import Index


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="Server",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("id", fields.CharField(unique=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("name", fields.CharField(max_length=64)),
                ("transport", fields.CharField(max_length=10)),
                ("command", fields.TextField(null=True, unique=False)),
                ("args", fields.TextField(unique=False)),
                ("url", fields.TextField(null=True, unique=False)),
                ("env", fields.TextField(unique=False)),
                ("headers", fields.TextField(unique=False)),
                ("created_at", fields.BigIntField()),
                ("updated_at", fields.BigIntField()),
            ],
            options={
                "table": "mcp_servers",
                "app": "mcp",
                "unique_together": (("org_id", "name"),),
                "indexes": [Index(fields=["org_id", "no"])],
                "pk_attr": "no",
                "table_description": "An MCP server that agents may use. References to secrets stand in it as they were given.",
            },
            bases=["Model"],
        ),
    ]
