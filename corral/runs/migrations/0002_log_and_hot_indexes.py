"""The log's table, and the partial indexes that keep the claim flat however many runs have finished."""

from tortoise import migrations

from corral.platform.migrating import DialectSql

_HOT = [
    (
        "CREATE INDEX runs_ready ON runs (placement_id, priority DESC, no) "
        "WHERE status = 'queued' AND hold IS NULL AND NOT attempt_open"
    ),
    "CREATE INDEX runs_held ON runs (runner_no) WHERE attempt_open",
    # The org comes first so that no query for a runner's open attempts takes this one, with all its ended runs.
    "CREATE INDEX runs_of_runner ON runs (org_id, runner_no, no) WHERE runner_no IS NOT NULL",
    "CREATE INDEX runs_followups ON runs (parent_no) WHERE parent_no IS NOT NULL",
    "CREATE INDEX commands_open ON commands (runner_no, no) WHERE done_at IS NULL",
    "CREATE INDEX approvals_pending ON approvals (org_id, expires_at) WHERE status = 'pending'",
]
_COLUMNS = (
    "run_no BIGINT NOT NULL, seq BIGINT NOT NULL, org_id BIGINT NOT NULL, attempt INT NOT NULL, n BIGINT, "
    "type {text} NOT NULL, payload TEXT NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (run_no, seq)"
)


class Migration(migrations.Migration):
    """Create `events` and the hot indexes."""

    dependencies = [("runs", "0001_initial"), ("platform", "0002_clock")]

    operations = [
        DialectSql(
            sqlite=[f"CREATE TABLE events ({_COLUMNS.format(text='TEXT')}) WITHOUT ROWID", *_HOT],
            postgres=[f"CREATE TABLE events ({_COLUMNS.format(text='VARCHAR(40)')})", *_HOT],
        )
    ]
