"""Tables of orgs, people, keys and repeated requests. Times are milliseconds of the database's clock."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Org(Model):
    """A tenant. Every other table names one, and nothing is ever read across two."""

    id = fields.BigIntField(primary_key=True)
    name = fields.CharField(max_length=200)
    policy = fields.TextField(default="{}", db_default="{}")  # JSON of `policy.Policy`
    plan = fields.CharField(max_length=100, null=True)  # null: the default one
    rate_limit = fields.IntField(null=True)  # requests a minute of each of its keys; null: the server's, 0: none
    created_at = fields.BigIntField()

    class Meta:
        table = "orgs"


class User(Model):
    """A person. What they are in which org, `members` says."""

    id = fields.CharField(max_length=36, primary_key=True)
    org_id = fields.BigIntField()  # this and `role` only for servers of the version before: an org of theirs
    name = fields.CharField(max_length=200)
    role = fields.CharField(max_length=20)
    created_at = fields.BigIntField()
    email = fields.CharField(max_length=254, null=True)  # lower-cased, unique; nobody has checked whose it is
    password = fields.CharField(max_length=255, null=True)  # argon2; null: signs in by links, or elsewhere
    password_changed_at = fields.BigIntField(null=True)

    class Meta:
        table = "users"
        indexes = (("org_id",),)


class Member(Model):
    """That a person is in an org, and what they are there."""

    no = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    user_id = fields.CharField(max_length=36)
    role = fields.CharField(max_length=20)  # owner | admin | member | viewer
    created_at = fields.BigIntField()

    class Meta:
        table = "members"
        unique_together = (("org_id", "user_id"),)
        indexes = (("user_id",),)


class Identity(Model):
    """Who a person is at an OIDC provider."""

    no = fields.BigIntField(primary_key=True)
    issuer = fields.CharField(max_length=500)
    subject = fields.CharField(max_length=255)
    user_id = fields.CharField(max_length=36)
    created_at = fields.BigIntField()

    class Meta:
        table = "identities"
        unique_together = (("issuer", "subject"),)
        indexes = (("user_id",),)


class Invitation(Model):
    """A link by which one person may come into an org, once."""

    id = fields.CharField(max_length=36, primary_key=True)
    org_id = fields.BigIntField()
    hash = fields.CharField(max_length=64, unique=True)
    email = fields.CharField(max_length=254, null=True)  # null: for whoever has the link
    role = fields.CharField(max_length=20)
    invited_by = fields.CharField(max_length=64)  # an actor
    created_at = fields.BigIntField()
    expires_at = fields.BigIntField()
    accepted_at = fields.BigIntField(null=True)
    accepted_by = fields.CharField(max_length=36, null=True)  # a person's id
    revoked_at = fields.BigIntField(null=True)

    class Meta:
        table = "invitations"
        indexes = (("org_id", "id"),)


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
    rate_limit = fields.IntField(null=True)  # requests a minute; null: its org's, 0: none

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
    org_id = fields.BigIntField()  # that is looked at now
    user_id = fields.CharField(max_length=36)
    created_at = fields.BigIntField()
    expires_at = fields.BigIntField()
    id = fields.CharField(max_length=36, null=True)  # what people know it by; never null: the database sees to it
    means = fields.CharField(max_length=20, default="link", db_default="link")  # link | password | oidc
    address = fields.CharField(max_length=64, default="", db_default="")
    agent = fields.CharField(max_length=300, default="", db_default="")  # what the browser calls itself
    last_used_at = fields.BigIntField(null=True)  # to the minute

    class Meta:
        table = "sign_ins"
        indexes = (("org_id", "user_id"),)


class SignInAttempts(Model):
    """How many sign-ins failed lately for an account, or from an address."""

    subject = fields.CharField(max_length=64, primary_key=True)  # a hash: people type passwords into wrong fields
    count = fields.IntField()
    started_at = fields.BigIntField()

    class Meta:
        table = "sign_in_attempts"
        indexes = (("started_at",),)


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


class ServerProcess(Model):
    """A server process, for people to see. It is nobody's: all orgs share the servers."""

    id = fields.CharField(max_length=36, primary_key=True)
    name = fields.CharField(max_length=200)
    version = fields.CharField(max_length=50)
    started_at = fields.BigIntField()
    seen_at = fields.BigIntField()

    class Meta:
        table = "servers"
