"""The tables of MCP servers, and of how runs find them."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Server(Model):
    """An MCP server that agents may use. References to secrets stand in it as they were given."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    name = fields.CharField(max_length=64)
    transport = fields.CharField(max_length=10)  # stdio | http
    command = fields.TextField(null=True)
    args = fields.TextField()  # JSON list
    url = fields.TextField(null=True)
    env = fields.TextField()  # JSON object
    headers = fields.TextField()  # JSON object
    enabled_for = fields.CharField(max_length=10, db_default="all", default="all")  # all | agents | teams
    agents = fields.TextField(db_default="[]", default="[]")  # JSON list of ids
    teams = fields.TextField(db_default="[]", default="[]")  # JSON list of names
    allow = fields.TextField(db_default="[]", default="[]")  # JSON list: tools, or patterns with *
    ask = fields.TextField(db_default="[]", default="[]")  # likewise
    deny = fields.TextField(db_default="[]", default="[]")  # likewise
    health = fields.TextField(null=True)  # JSON of Health: the last test's result
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "mcp_servers"
        unique_together = (("org_id", "name"),)
        indexes = (("org_id", "no"),)


class Use(Model):
    """How the runs on one machine found an MCP server when they last used it."""

    no = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    server_no = fields.BigIntField()
    machine = fields.CharField(max_length=100)  # a runner's name, or `the platform`
    ok = fields.BooleanField()
    error = fields.TextField(null=True)
    run_id = fields.CharField(max_length=36)
    at = fields.BigIntField()

    class Meta:
        table = "mcp_uses"
        unique_together = (("server_no", "machine"),)
        indexes = (("org_id", "no"),)
