"""What a run is to be paused for, until its attempt has ended."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("runs", "0005_accounts")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Run",
            name="pause_requested",
            field=fields.TextField(null=True, unique=False),
        ),
    ]
