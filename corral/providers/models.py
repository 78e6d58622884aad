"""The conversations' table."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Conversation(Model):
    """One entry of a conversation with a model, which is only ever added to. Its session is the run that began it."""

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    session_id = fields.CharField(max_length=36)
    idx = fields.IntField()  # from 0, in the order things happened
    run_id = fields.CharField(max_length=36)  # whose attempt added it
    entry = fields.TextField()  # JSON of entries.Entry
    created_at = fields.BigIntField()

    class Meta:
        table = "conversation"
        unique_together = (("session_id", "idx"),)
