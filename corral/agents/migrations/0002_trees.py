"""The tree of tasks that lines, and runs that go on, are counted for: known to those from before budgets as well."""

from tortoise import migrations

from corral.platform.migrating import DialectSql

_FILL = [
    (
        "UPDATE usage_lines SET tree_id = (SELECT root_id FROM tasks WHERE id = usage_lines.task_id) "
        "WHERE task_id IS NOT NULL"
    ),
    (
        'UPDATE runs SET account = replace(account, \'"task_id":\', \'"tree_id":"\' || '
        '(SELECT root_id FROM tasks WHERE id = runs.task_id) || \'","task_id":\') WHERE task_id IS NOT NULL '
        "AND account IS NOT NULL AND EXISTS (SELECT 1 FROM tasks WHERE id = runs.task_id)"
    ),
]


class Migration(migrations.Migration):
    """Fill them in."""

    dependencies = [("agents", "0001_initial"), ("usage", "0005_budgets"), ("runs", "0007_reservations")]

    operations = [DialectSql(sqlite=_FILL, postgres=_FILL)]
