"""The first tables."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields
from tortoise.indexes import Index


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="ApiKey",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("user_id", fields.CharField(null=True, max_length=36)),
                ("name", fields.CharField(max_length=200)),
                ("prefix", fields.CharField(max_length=20)),
                ("hash", fields.CharField(unique=True, max_length=64)),
                ("scopes", fields.TextField(unique=False)),
                ("created_at", fields.BigIntField()),
                ("expires_at", fields.BigIntField(null=True)),
                ("revoked_at", fields.BigIntField(null=True)),
                ("last_used_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "api_keys",
                "app": "platform",
                "indexes": [Index(fields=["org_id", "id"])],
                "pk_attr": "id",
                "table_description": "A bearer key. Only its SHA-256 is kept: keys have 256 bits, so a slow hash would add nothing.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Org",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("name", fields.CharField(max_length=200)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "orgs",
                "app": "platform",
                "pk_attr": "id",
                "table_description": "A tenant. Every other table names one, and nothing is ever read across two.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="RepeatableRequest",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("org_id", fields.BigIntField()),
                ("path", fields.CharField(max_length=500)),
                ("key", fields.CharField(max_length=255)),
                ("body_hash", fields.CharField(max_length=64)),
                ("minted_id", fields.CharField(max_length=36)),
                ("status", fields.IntField(null=True)),
                ("answer", fields.TextField(null=True, unique=False)),
                ("content_type", fields.CharField(null=True, max_length=100)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "repeatable_requests",
                "app": "platform",
                "unique_together": (("org_id", "path", "key"),),
                "indexes": [Index(fields=["created_at"])],
                "pk_attr": "id",
                "table_description": "A POST with an Idempotency-Key: what it asked and, once done, what it was answered. Kept for 24 hours.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SignIn",
            fields=[
                ("hash", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("org_id", fields.BigIntField()),
                ("user_id", fields.CharField(max_length=36)),
                ("created_at", fields.BigIntField()),
                ("expires_at", fields.BigIntField()),
            ],
            options={
                "table": "sign_ins",
                "app": "platform",
                "indexes": [Index(fields=["org_id", "user_id"])],
                "pk_attr": "hash",
                "table_description": "A console session: the cookie's hash and whose it is.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SignInLink",
            fields=[
                ("hash", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("org_id", fields.BigIntField()),
                ("user_id", fields.CharField(max_length=36)),
                ("expires_at", fields.BigIntField()),
                ("used_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "sign_in_links",
                "app": "platform",
                "pk_attr": "hash",
                "table_description": "A link that signs a person in once.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="User",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=36)),
                ("org_id", fields.BigIntField()),
                ("name", fields.CharField(max_length=200)),
                ("role", fields.CharField(max_length=20)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "users",
                "app": "platform",
                "indexes": [Index(fields=["org_id"])],
                "pk_attr": "id",
                "table_description": "A person of an org, with one role in it.",
            },
            bases=["Model"],
        ),
    ]
