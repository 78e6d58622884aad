"""How runs find MCP servers when they use them."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields
from tortoise.indexes import Index


class Migration(migrations.Migration):
    dependencies = [("mcp", "0002_who_and_what")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Use",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("server_no", fields.BigIntField()),
                ("machine", fields.CharField(max_length=100)),
                ("ok", fields.BooleanField()),
                ("error", fields.TextField(null=True, unique=False)),
                ("run_id", fields.CharField(max_length=36)),
                ("at", fields.BigIntField()),
            ],
            options={
                "table": "mcp_uses",
                "app": "mcp",
                "unique_together": (("server_no", "machine"),),
                "indexes": [Index(fields=["org_id", "no"])],
                "pk_attr": "no",
                "table_description": "How the runs on one machine found an MCP server when they last used it.",
            },
            bases=["Model"],
        ),
    ]
