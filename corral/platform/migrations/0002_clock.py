"""The clock that every statement reads: `now_ms()`. SQLite gets its own from the connection."""

from tortoise import migrations

from corral.platform.migrating import DialectSql


class Migration(migrations.Migration):
    """Create `now_ms()` on PostgreSQL."""

    dependencies = [("platform", "0001_initial")]

    operations = [
        DialectSql(
            postgres=[
                (
                    "CREATE OR REPLACE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE AS "
                    "$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$"
                )
            ]
        )
    ]
