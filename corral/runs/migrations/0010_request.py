"""Which request set a run going, so that logs of servers and runners can be searched for it."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("runs", "0009_sealing")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Run",
            name="request_id",
            field=fields.CharField(max_length=64, null=True, unique=False),
        ),
    ]
