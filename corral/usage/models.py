"""The ledger's table."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class UsageLine(Model):
    """One delta of one run. Unique by (run, source): a replay adds nothing."""

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    run_no = fields.BigIntField()
    agent_id = fields.CharField(max_length=36, null=True)  # whom the run executed, so that reports need no join
    source = fields.CharField(max_length=200)
    day = fields.IntField()  # days since 1970-01-01 UTC, from the server's clock
    model = fields.CharField(max_length=100)
    input_tokens = fields.BigIntField()
    output_tokens = fields.BigIntField()
    cache_read_tokens = fields.BigIntField()
    cache_write_tokens = fields.BigIntField()
    cost_micros = fields.BigIntField(null=True)  # millionths of a US dollar, as the CLI reported
    estimated = fields.BooleanField(default=False)
    created_at = fields.BigIntField()

    class Meta:
        table = "usage_lines"
        unique_together = (("run_no", "source"),)  # beside the covering index of migration 0002
