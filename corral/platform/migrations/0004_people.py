"""People of several orgs, with passwords, invitations, sign-ins that can be told apart, and identities elsewhere.

The first half of a deploy pair: `users.org_id` and `users.role` stay, and are written on, because servers of the
version before read them. What these insert gets what it lacks from triggers.
"""

from typing import Any

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from corral.platform.migrating import DialectSql

_UUID = (
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' || "
    "substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
)
_BOTH = (
    "CREATE UNIQUE INDEX users_email ON users (email)",
    "CREATE INDEX sign_ins_of ON sign_ins (user_id)",
    "CREATE INDEX invitations_for ON invitations (email)",
    "INSERT INTO members (org_id, user_id, role, created_at) SELECT org_id, id, role, created_at FROM users",
)
_JOIN = (
    "INSERT INTO members (org_id, user_id, role, created_at) VALUES (NEW.org_id, NEW.id, NEW.role, NEW.created_at) "
    "ON CONFLICT (org_id, user_id) DO NOTHING;"
)


def _column(model: str, name: str, field: Any) -> ops.AddField:
    return ops.AddField(model_name=model, name=name, field=field)


class Migration(migrations.Migration):
    dependencies = [("platform", "0003_policy")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Member",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("user_id", fields.CharField(max_length=36)),
                ("role", fields.CharField(max_length=20)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "members",
                "app": "platform",
                "unique_together": (("org_id", "user_id"),),
                "indexes": [Index(fields=["user_id"])],
                "pk_attr": "no",
                "table_description": "That a person is in an org, and what they are there.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Identity",
            fields=[
                ("no", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("issuer", fields.CharField(max_length=500)),
                ("subject", fields.CharField(max_length=255)),
                ("user_id", fields.CharField(max_length=36)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "identities",
                "app": "platform",
                "unique_together": (("issuer", "subject"),),
                "indexes": [Index(fields=["user_id"])],
                "pk_attr": "no",
                "table_description": "Who a person is at an OIDC provider.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Invitation",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("hash", fields.CharField(unique=True, max_length=64)),
                ("email", fields.CharField(null=True, max_length=254)),
                ("role", fields.CharField(max_length=20)),
                ("invited_by", fields.CharField(max_length=64)),
                ("created_at", fields.BigIntField()),
                ("expires_at", fields.BigIntField()),
                ("accepted_at", fields.BigIntField(null=True)),
                ("accepted_by", fields.CharField(null=True, max_length=36)),
                ("revoked_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "invitations",
                "app": "platform",
                "indexes": [Index(fields=["org_id", "id"])],
                "pk_attr": "id",
                "table_description": "A link by which one person may come into an org, once.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SignInAttempts",
            fields=[
                ("subject", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("count", fields.IntField()),
                ("started_at", fields.BigIntField()),
            ],
            options={
                "table": "sign_in_attempts",
                "app": "platform",
                "indexes": [Index(fields=["started_at"])],
                "pk_attr": "subject",
                "table_description": "How many sign-ins failed lately for an account, or from an address.",
            },
            bases=["Model"],
        ),
        _column("User", "email", fields.CharField(null=True, max_length=254)),
        _column("User", "password", fields.CharField(null=True, max_length=255)),
        _column("User", "password_changed_at", fields.BigIntField(null=True)),
        _column("SignIn", "id", fields.CharField(null=True, max_length=36)),
        _column("SignIn", "means", fields.CharField(default="link", db_default="link", max_length=20)),
        _column("SignIn", "address", fields.CharField(default="", db_default="", max_length=64)),
        _column("SignIn", "agent", fields.CharField(default="", db_default="", max_length=300)),
        _column("SignIn", "last_used_at", fields.BigIntField(null=True)),
        DialectSql(
            sqlite=[
                *_BOTH,
                f"UPDATE sign_ins SET id = {_UUID}",  # noqa: S608 - our own words
                "CREATE UNIQUE INDEX sign_ins_id ON sign_ins (id)",
                f"CREATE TRIGGER users_join AFTER INSERT ON users WHEN NEW.org_id <> 0 BEGIN {_JOIN} END",
                (
                    "CREATE TRIGGER sign_ins_named AFTER INSERT ON sign_ins WHEN NEW.id IS NULL "  # noqa: S608
                    f"BEGIN UPDATE sign_ins SET id = {_UUID} WHERE hash = NEW.hash; END"
                ),
            ],
            postgres=[
                *_BOTH,
                "ALTER TABLE sign_ins ALTER COLUMN id SET DEFAULT gen_random_uuid()::text",
                "UPDATE sign_ins SET id = gen_random_uuid()::text",
                "CREATE UNIQUE INDEX sign_ins_id ON sign_ins (id)",
                f"CREATE FUNCTION user_joins() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_JOIN} RETURN NULL; END $$",
                (
                    "CREATE TRIGGER users_join AFTER INSERT ON users FOR EACH ROW WHEN (NEW.org_id <> 0) "
                    "EXECUTE FUNCTION user_joins()"
                ),
            ],
        ),
    ]
