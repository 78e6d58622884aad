"""What turns in progress have used so far, which goes with its attempt, whoever ends that."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from corral.platform.migrating import DialectSql

_CLEAR = "DELETE FROM usage_drafts WHERE run_no = NEW.no;"
_WHEN = "WHEN (OLD.attempt_open AND NOT NEW.attempt_open)"


class Migration(migrations.Migration):
    dependencies = [("usage", "0003_accounts_and_prices"), ("runs", "0001_initial")]

    initial = False

    operations = [
        ops.CreateModel(
            name="UsageDraft",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("run_no", fields.BigIntField()),
                ("run_id", fields.CharField(max_length=36)),
                ("source", fields.CharField(max_length=200)),
                ("told", fields.BigIntField()),
                ("model", fields.CharField(max_length=100)),
                ("input_tokens", fields.BigIntField()),
                ("output_tokens", fields.BigIntField()),
                ("cache_read_tokens", fields.BigIntField()),
                ("cache_write_tokens", fields.BigIntField()),
                ("micros", fields.BigIntField()),
                ("agent_id", fields.CharField(null=True, max_length=36)),
                ("team", fields.CharField(null=True, max_length=200)),
                ("task_id", fields.CharField(null=True, max_length=36)),
                ("epic_id", fields.CharField(null=True, max_length=36)),
                ("key_id", fields.CharField(null=True, max_length=36)),
                ("user_id", fields.CharField(null=True, max_length=36)),
                ("labels", fields.TextField(null=True, unique=False)),
            ],
            options={
                "table": "usage_drafts",
                "app": "usage",
                "unique_together": (("run_no", "source"),),
                "indexes": [Index(fields=["org_id"])],
                "pk_attr": "id",
                "table_description": "What an answer of a turn has used whose line is still to come: part of what a run cost so far, gone with it.",
            },
            bases=["Model"],
        ),
        DialectSql(
            sqlite=[f"CREATE TRIGGER runs_let_go AFTER UPDATE OF attempt_open ON runs {_WHEN} BEGIN {_CLEAR} END"],
            postgres=[
                f"CREATE FUNCTION run_let_go() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_CLEAR} RETURN NULL; END $$",
                (
                    f"CREATE TRIGGER runs_let_go AFTER UPDATE OF attempt_open ON runs FOR EACH ROW {_WHEN} "
                    "EXECUTE FUNCTION run_let_go()"
                ),
            ],
        ),
    ]
