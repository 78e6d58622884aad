"""Packed events of runs that ended long ago, and which runs' events are packed."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from corral.platform.migrating import DialectSql

_COLUMNS = (
    "run_no BIGINT NOT NULL, first_seq BIGINT NOT NULL, last_seq BIGINT NOT NULL, org_id BIGINT NOT NULL, "
    "ended_at BIGINT NOT NULL, data {bytes} NOT NULL, PRIMARY KEY (run_no, first_seq)"
)
_INDEXES = [
    "CREATE INDEX event_packs_ended ON event_packs (ended_at)",
    # Not by how far a log has grown: then PostgreSQL would touch every index of a run with each batch of events.
    "CREATE INDEX runs_unsealed ON runs (ended_at) WHERE ended_at IS NOT NULL AND NOT is_sealed",
]


class Migration(migrations.Migration):
    dependencies = [("runs", "0008_remains")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Run",
            name="is_sealed",
            field=fields.BooleanField(db_default=False, default=False),
        ),
        DialectSql(
            sqlite=[f"CREATE TABLE event_packs ({_COLUMNS.format(bytes='BLOB')})", *_INDEXES],
            postgres=[f"CREATE TABLE event_packs ({_COLUMNS.format(bytes='BYTEA')})", *_INDEXES],
        ),
    ]
