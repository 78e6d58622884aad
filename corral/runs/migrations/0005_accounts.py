"""Whom a run's usage is counted for."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from corral.platform.migrating import DialectSql

#: Lines of runs that began before lines named them.
_NAMED = "UPDATE usage_lines SET run_id = (SELECT id FROM runs WHERE no = run_no) WHERE run_id IS NULL"


class Migration(migrations.Migration):
    dependencies = [("runs", "0004_agents"), ("usage", "0003_accounts_and_prices")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Run",
            name="account",
            field=fields.TextField(null=True, unique=False),
        ),
        DialectSql(sqlite=[_NAMED], postgres=[_NAMED]),
    ]
