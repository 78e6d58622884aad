"""Tables of secrets and of the keys they are sealed with. Times are milliseconds of the database's clock."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class DataKey(Model):
    """The key of an org's secrets, sealed with the master key."""

    org_id = fields.BigIntField(primary_key=True, generated=False)
    master = fields.CharField(max_length=16)  # fingerprint of the master key
    wrapped = fields.BinaryField()
    created_at = fields.BigIntField()

    class Meta:
        table = "data_keys"


class Secret(Model):
    """A secret of an org, or of one of its agents."""

    no = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    agent_id = fields.CharField(max_length=36)  # empty: the org's
    key = fields.CharField(max_length=200)
    version = fields.IntField(db_default=1, default=1)  # counts the values that were stored by this name
    sealed = fields.BinaryField()
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "secrets"
        unique_together = (("org_id", "agent_id", "key"),)


class SecretUse(Model):
    """A secret was opened: which version, when, and for whom. Rows stay when the secret goes."""

    no = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    secret_no = fields.BigIntField()
    agent_id = fields.CharField(max_length=36)  # empty: the org's
    key = fields.CharField(max_length=200)
    version = fields.IntField()
    used_by = fields.CharField(max_length=64)  # `run:<id>`, `user:<id>` or `key:<id>`
    attempt = fields.IntField(null=True)  # of the run
    used_at = fields.BigIntField()

    class Meta:
        table = "secret_uses"
        indexes = (("secret_no", "no"), ("org_id", "no"))
