"""What an org's plan is, and how often an org's keys, or one of them, may call."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields


class Migration(migrations.Migration):
    dependencies = [("platform", "0004_people")]

    initial = False

    operations = [
        ops.AddField(model_name="Org", name="plan", field=fields.CharField(null=True, max_length=100)),
        ops.AddField(model_name="Org", name="rate_limit", field=fields.IntField(null=True)),
        ops.AddField(model_name="ApiKey", name="rate_limit", field=fields.IntField(null=True)),
    ]
