"""Whom a server is for, which of its tools may be called, and how it was when it was last tested."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("mcp", "0001_initial")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Server",
            name="enabled_for",
            field=fields.CharField(max_length=10, db_default="all", default="all"),
        ),
        ops.AddField(
            model_name="Server", name="agents", field=fields.TextField(db_default="[]", default="[]", unique=False)
        ),
        ops.AddField(
            model_name="Server", name="teams", field=fields.TextField(db_default="[]", default="[]", unique=False)
        ),
        ops.AddField(
            model_name="Server", name="allow", field=fields.TextField(db_default="[]", default="[]", unique=False)
        ),
        ops.AddField(
            model_name="Server", name="ask", field=fields.TextField(db_default="[]", default="[]", unique=False)
        ),
        ops.AddField(
            model_name="Server", name="deny", field=fields.TextField(db_default="[]", default="[]", unique=False)
        ),
        ops.AddField(model_name="Server", name="health", field=fields.TextField(null=True, unique=False)),
    ]
