"""Whoever ends a run ends with it, in the same statement, what was asked of people and commanded of its runner."""

from tortoise import migrations

from corral.platform.migrating import DialectSql

_CLOSE = (
    "UPDATE commands SET done_at = NEW.ended_at, status = 'dropped' WHERE run_no = NEW.no AND done_at IS NULL; "
    "UPDATE approvals SET status = 'withdrawn', answered_at = NEW.ended_at WHERE run_no = NEW.no AND status = 'pending';"
)
_WHEN = "WHEN (NEW.status IN ('completed', 'failed', 'cancelled'))"


class Migration(migrations.Migration):
    """Create the trigger `runs_ended`."""

    dependencies = [("runs", "0002_log_and_hot_indexes")]

    operations = [
        DialectSql(
            sqlite=[f"CREATE TRIGGER runs_ended AFTER UPDATE OF status ON runs {_WHEN} BEGIN {_CLOSE} END"],
            postgres=[
                f"CREATE FUNCTION run_ended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_CLOSE} RETURN NULL; END $$",
                (
                    f"CREATE TRIGGER runs_ended AFTER UPDATE OF status ON runs FOR EACH ROW {_WHEN} "
                    "EXECUTE FUNCTION run_ended()"
                ),
            ],
        )
    ]
