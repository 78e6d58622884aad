"""Tables of orgs, people, keys and repeated requests. Times are milliseconds of the database's clock."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Org(Model):
    """A tenant. Every other table names one, and nothing is ever read across two."""

    id = fields.BigIntField(primary_key=True)
    name = fields.CharField(max_length=200)
    policy = fields.TextField(default="{}", db_default="{}")  # JSON of `policy.Policy`
    created_at = fields.BigIntField()

    class Meta:
        table = "orgs"


class User(Model):
    """A person of an org, with one role in it."""

    id = fields.CharField(max_length=36, primary_key=True)
    org_id = fields.BigIntField()
    name = fields.CharField(max_length=200)
    role = fields.CharField(max_length=20)  # owner | admin | member | viewer
    created_at = fields.BigIntField()

    class Meta:
        table = "users"
        indexes = (("org_id",),)


class ApiKey(Model):
    """A bearer key. Only its SHA-256 is kept: keys have 256 bits, so a slow hash would add nothing."""

    id = fields.CharField(max_length=36, primary_key=True)
    org_id = fields.BigIntField()
    user_id = fields.CharField(max_length=36, null=True)
    name = fields.CharField(max_length=200)
    prefix = fields.CharField(max_length=20)  # the first characters, shown so that people can tell keys apart
    hash = fields.CharField(max_length=64, unique=True)  # hex
    scopes = fields.TextField()  # separated by spaces, or `*`
    created_at = fields.BigIntField()
    expires_at = fields.BigIntField(null=True)
    revoked_at = fields.BigIntField(null=True)
    last_used_at = fields.BigIntField(null=True)  # to the minute

    class Meta:
        table = "api_keys"
        indexes = (("org_id", "id"),)


class SignInLink(Model):
    """A link that signs a person in once."""

    hash = fields.CharField(max_length=64, primary_key=True)
    org_id = fields.BigIntField()
    user_id = fields.CharField(max_length=36)
    expires_at = fields.BigIntField()
    used_at = fields.BigIntField(null=True)

    class Meta:
        table = "sign_in_links"


class SignIn(Model):
    """A console session: the cookie's hash and whose it is."""

    hash = fields.CharField(max_length=64, primary_key=True)
    org_id = fields.BigIntField()
    user_id = fields.CharField(max_length=36)
    created_at = fields.BigIntField()
    expires_at = fields.BigIntField()

    class Meta:
        table = "sign_ins"
        indexes = (("org_id", "user_id"),)


class RepeatableRequest(Model):
    """A POST with an Idempotency-Key: what it asked and, once done, what it was answered. Kept for 24 hours."""

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    path = fields.CharField(max_length=500)
    key = fields.CharField(max_length=255)  # its hash
    body_hash = fields.CharField(max_length=64)  # keyed with it
    minted_id = fields.CharField(max_length=36)  # the id its thing gets, so that a second try finds it
    status = fields.IntField(null=True)  # null while in flight
    answer = fields.TextField(null=True)  # null also for answers that hold a secret
    content_type = fields.CharField(max_length=100, null=True)
    created_at = fields.BigIntField()

    class Meta:
        table = "repeatable_requests"
        unique_together = (("org_id", "path", "key"),)
        indexes = (("created_at",),)


class AuditLine(Model):
    """Who did what to what. Triggers refuse that a line is changed, and that one above the floor is deleted."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    at = fields.BigIntField()
    actor = fields.CharField(max_length=100)
    action = fields.CharField(max_length=60)
    target_kind = fields.CharField(max_length=40)
    target_id = fields.CharField(max_length=300)
    address = fields.CharField(max_length=64, null=True)
    request_id = fields.CharField(max_length=64, null=True)
    detail = fields.TextField()  # a small JSON object

    class Meta:
        table = "audit"
        indexes = (
            ("org_id", "at", "no"),
            ("org_id", "actor", "at", "no"),
            ("org_id", "action", "at", "no"),
            ("org_id", "target_id", "at", "no"),
        )


class AuditFloor(Model):
    """Lines of before then may be deleted. One row, which retention raises, and triggers keep below thirty days ago."""

    id = fields.SmallIntField(primary_key=True)
    at = fields.BigIntField()

    class Meta:
        table = "audit_floor"
