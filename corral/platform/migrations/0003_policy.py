"""What an org allows its agents."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields


class Migration(migrations.Migration):
    dependencies = [("platform", "0001_initial"), ("platform", "0002_clock")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Org",
            name="policy",
            field=fields.TextField(default="{}", db_default="{}", unique=False),
        ),
    ]
