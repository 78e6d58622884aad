"""The servers that share this database."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("platform", "0006_audit")]

    initial = False

    operations = [
        ops.CreateModel(
            name="ServerProcess",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=36)),
                ("name", fields.CharField(max_length=200)),
                ("version", fields.CharField(max_length=50)),
                ("started_at", fields.BigIntField()),
                ("seen_at", fields.BigIntField()),
            ],
            options={
                "table": "servers",
                "app": "platform",
                "pk_attr": "id",
                "table_description": "A server process, for people to see. It is nobody's: all orgs share the servers.",
            },
            bases=["Model"],
        ),
    ]
