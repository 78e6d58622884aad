"""Which request sent a message: what comes of it is logged as that request's."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("agents", "0002_trees")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Message",
            name="request_id",
            field=fields.CharField(max_length=64, null=True, unique=False),
        ),
    ]
