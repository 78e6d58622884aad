"""Whom each line was spent on, and the index that reports read alone."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from corral.platform.migrating import DialectSql

_SUMS = "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_micros"


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial")]

    initial = False

    operations = [
        ops.AddField(
            model_name="UsageLine",
            name="agent_id",
            field=fields.CharField(null=True, max_length=36),
        ),
        ops.RemoveIndex(model_name="UsageLine", fields=["org_id", "day"]),
        DialectSql(
            sqlite=[f"CREATE INDEX usage_report ON usage_lines (org_id, day, agent_id, model, {_SUMS})"],
            postgres=[f"CREATE INDEX usage_report ON usage_lines (org_id, day, agent_id, model) INCLUDE ({_SUMS})"],
        ),
    ]
