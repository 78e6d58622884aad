"""The tables of the ledger, of prices and of budgets."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class UsageLine(Model):
    """One delta of one run. Unique by (run, source): a replay adds nothing."""

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    run_no = fields.BigIntField()
    run_id = fields.CharField(max_length=36, null=True)
    source = fields.CharField(max_length=200)
    day = fields.IntField()  # days since 1970-01-01 UTC, from the server's clock
    model = fields.CharField(max_length=100)
    input_tokens = fields.BigIntField()
    output_tokens = fields.BigIntField()
    cache_read_tokens = fields.BigIntField()
    cache_write_tokens = fields.BigIntField()
    cost_micros = fields.BigIntField(null=True)  # millionths of a US dollar, as the CLI reported: what counts
    computed_micros = fields.BigIntField(null=True)  # from the prices, which counts where nothing was reported
    price_version = fields.BigIntField(null=True)  # of the prices that was computed with
    estimated = fields.BooleanField(default=False)
    created_at = fields.BigIntField()

    # The run's account, so that reports need no join.
    agent_id = fields.CharField(max_length=36, null=True)
    team = fields.CharField(max_length=200, null=True)
    task_id = fields.CharField(max_length=36, null=True)
    tree_id = fields.CharField(max_length=36, null=True)  # the task at the top of its tree
    epic_id = fields.CharField(max_length=36, null=True)
    key_id = fields.CharField(max_length=36, null=True)
    user_id = fields.CharField(max_length=36, null=True)
    labels = fields.TextField(null=True)  # JSON list

    class Meta:
        table = "usage_lines"
        unique_together = (("run_no", "source"),)  # beside the partial and covering indexes of 0003 and 0005
        indexes = (("org_id", "id"),)


class UsageDraft(Model):
    """What an answer of a turn has used whose line is still to come: part of what a run cost so far, gone with it.

    The row whose source is empty counts nothing: it says up to where the runner has told.
    """

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    run_no = fields.BigIntField()
    run_id = fields.CharField(max_length=36)
    source = fields.CharField(max_length=200)
    told = fields.BigIntField()  # wire.Drafts.at: what was told before it counts no more
    model = fields.CharField(max_length=100)
    input_tokens = fields.BigIntField()
    output_tokens = fields.BigIntField()
    cache_read_tokens = fields.BigIntField()
    cache_write_tokens = fields.BigIntField()
    micros = fields.BigIntField()  # computed; 0 if nobody knows the model's price

    # The run's account, as lines have it.
    agent_id = fields.CharField(max_length=36, null=True)
    team = fields.CharField(max_length=200, null=True)
    task_id = fields.CharField(max_length=36, null=True)
    tree_id = fields.CharField(max_length=36, null=True)
    epic_id = fields.CharField(max_length=36, null=True)
    key_id = fields.CharField(max_length=36, null=True)
    user_id = fields.CharField(max_length=36, null=True)
    labels = fields.TextField(null=True)

    class Meta:
        table = "usage_drafts"
        unique_together = (("run_no", "source"),)
        indexes = (("org_id",),)


class PriceList(Model):
    """A version of an org's own prices, or, of org 0, of the built-in ones. Never changed."""

    version = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    fingerprint = fields.CharField(max_length=64)  # hash of its prices: the same ones are no new version
    created_by = fields.CharField(max_length=64)
    created_at = fields.BigIntField()

    class Meta:
        table = "price_lists"
        indexes = (("org_id", "version"),)


class Price(Model):
    """What models of a name cost from a day on, in one version. Rates: millionths of a dollar a million tokens."""

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    version = fields.BigIntField()
    position = fields.IntField()
    model = fields.CharField(max_length=100)  # a name, with * for any letters
    since = fields.IntField(null=True)  # days since 1970; null: from ever
    input = fields.BigIntField()
    output = fields.BigIntField()
    cache_read = fields.BigIntField()
    cache_write = fields.BigIntField()
    tiers = fields.TextField()  # JSON of [prices.Tier]: what longer requests cost

    class Meta:
        table = "prices"
        unique_together = (("version", "position"),)


class Budget(Model):
    """What an org, a team, an agent, a tree of tasks or a key may spend in a period."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    scope = fields.CharField(max_length=10)  # org | team | agent | task | key
    target = fields.CharField(max_length=200)  # a team's name, or an id; of a tree, its root; empty for the org
    name = fields.CharField(max_length=200)
    limit_micros = fields.BigIntField()  # millionths of a US dollar
    period = fields.CharField(max_length=10)  # day | week | month | total
    tz = fields.CharField(max_length=100)  # whose days
    hard = fields.BooleanField()  # stops runs; else it only warns
    created_by = fields.CharField(max_length=64)
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "budgets"
        unique_together = (("org_id", "scope", "target", "period"),)


class BudgetAlert(Model):
    """So much of a budget was spent in a period. Told once."""

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    budget_no = fields.BigIntField()
    period_start = fields.BigIntField()  # ms, 0 of a budget without periods
    percent = fields.SmallIntField()  # 50 | 80 | 100
    limit_micros = fields.BigIntField()  # as it was then
    created_at = fields.BigIntField()

    class Meta:
        table = "budget_alerts"
        unique_together = (("budget_no", "period_start", "percent"),)
        indexes = (("org_id", "id"),)
