"""The audit log, and what keeps it append-only, whoever has a statement to run."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields
from tortoise.indexes import Index

from corral.platform.migrating import DialectSql

_CHANGED = "lines of the audit log are not changed"
_DELETED = "lines of the audit log are deleted by retention alone, below the floor"
_RAISED = "the floor of the audit log stays below thirty days ago"
_FLOOR = "coalesce((SELECT at FROM audit_floor WHERE id = 1), 0)"
#: Of the database itself: a shell knows no function of ours.
_SQLITE_NOW = "CAST(strftime('%s', 'now') AS INTEGER) * 1000"
_THIRTY_DAYS = 30 * 24 * 3600 * 1000


def _sqlite(name: str, when: str, why: str) -> str:
    return f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{why}'); END"


class Migration(migrations.Migration):
    """Create `audit` and `audit_floor`, with their triggers."""

    dependencies = [("platform", "0005_limits")]

    initial = False

    operations = [
        ops.CreateModel(
            name="AuditLine",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("id", fields.CharField(unique=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("at", fields.BigIntField()),
                ("actor", fields.CharField(max_length=100)),
                ("action", fields.CharField(max_length=60)),
                ("target_kind", fields.CharField(max_length=40)),
                ("target_id", fields.CharField(max_length=300)),
                ("address", fields.CharField(null=True, max_length=64)),
                ("request_id", fields.CharField(null=True, max_length=64)),
                ("detail", fields.TextField(unique=False)),
            ],
            options={
                "table": "audit",
                "app": "platform",
                "indexes": [
                    Index(fields=["org_id", "at", "no"]),
                    Index(fields=["org_id", "actor", "at", "no"]),
                    Index(fields=["org_id", "action", "at", "no"]),
                    Index(fields=["org_id", "target_id", "at", "no"]),
                ],
                "pk_attr": "no",
                "table_description": "Who did what to what. Triggers refuse that a line is changed, and that one above the floor is deleted.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="AuditFloor",
            fields=[
                ("id", fields.SmallIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("at", fields.BigIntField()),
            ],
            options={
                "table": "audit_floor",
                "app": "platform",
                "pk_attr": "id",
                "table_description": "Lines of before then may be deleted. One row, which retention raises, and triggers keep below thirty days ago.",
            },
            bases=["Model"],
        ),
        DialectSql(
            sqlite=[
                _sqlite("audit_unchanged", "BEFORE UPDATE ON audit", _CHANGED),
                _sqlite(  # INSERT OR REPLACE: a shell does not ask the trigger above for what it takes the place of
                    "audit_unreplaced",
                    "BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE no = NEW.no OR id = NEW.id)",
                    _CHANGED,
                ),
                _sqlite("audit_undeleted", f"BEFORE DELETE ON audit WHEN OLD.at >= {_FLOOR}", _DELETED),
                *(
                    _sqlite(
                        f"audit_floor_{verb.lower()}",
                        f"BEFORE {verb} ON audit_floor WHEN NEW.at > {_SQLITE_NOW} - {_THIRTY_DAYS}",
                        _RAISED,
                    )
                    for verb in ("INSERT", "UPDATE")
                ),
            ],
            postgres=[
                (
                    "CREATE FUNCTION audit_unchanged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    f"RAISE EXCEPTION '{_CHANGED}'; END $$"
                ),
                (
                    "CREATE FUNCTION audit_undeleted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    f"IF OLD.at >= {_FLOOR} THEN RAISE EXCEPTION '{_DELETED}'; END IF; RETURN OLD; END $$"
                ),
                (
                    "CREATE FUNCTION audit_floor_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    f"IF NEW.at > now_ms() - {_THIRTY_DAYS} THEN RAISE EXCEPTION '{_RAISED}'; END IF; "
                    "RETURN NEW; END $$"
                ),
                (
                    "CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit FOR EACH ROW "
                    "EXECUTE FUNCTION audit_unchanged()"
                ),
                (
                    "CREATE TRIGGER audit_undeleted BEFORE DELETE ON audit FOR EACH ROW "
                    "EXECUTE FUNCTION audit_undeleted()"
                ),
                (
                    "CREATE TRIGGER audit_untruncated BEFORE TRUNCATE ON audit FOR EACH STATEMENT "
                    "EXECUTE FUNCTION audit_unchanged()"
                ),
                (
                    "CREATE TRIGGER audit_floor_kept BEFORE INSERT OR UPDATE ON audit_floor FOR EACH ROW "
                    "EXECUTE FUNCTION audit_floor_kept()"
                ),
            ],
        ),
    ]
