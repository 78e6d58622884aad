"""Tables of the run's life. `no` is the key inside, `id` (UUIDv7) the name outside; times are the database's, in ms.

The log itself (`events`) has a composite key and is written and read by statements alone (`ingest`, `feed`), so it has
no model; its table stands in the first migration.
"""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Runner(Model):
    """A machine that pulls runs. `session` names its present process: renewing that is the lease of all its runs."""

    no = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    number = fields.IntField()  # the id people see, counted in the org
    uid = fields.CharField(max_length=64)
    name = fields.CharField(max_length=100)
    os = fields.CharField(max_length=20)
    arch = fields.CharField(max_length=20)
    version = fields.CharField(max_length=50)
    labels = fields.TextField()  # JSON list, sorted
    allowed_dirs = fields.TextField()  # JSON list
    clis = fields.TextField()  # JSON list of wire.Cli
    max_pods = fields.IntField()
    session = fields.CharField(max_length=64)
    poll_no = fields.BigIntField(default=0)
    draining = fields.BooleanField(default=False)
    seen_at = fields.BigIntField()  # the arrival of its last poll
    created_at = fields.BigIntField()

    class Meta:
        table = "runners"
        unique_together = (("org_id", "uid"), ("org_id", "number"))


class Placement(Model):
    """Where a run may go: runs with the same needs share one, and a runner claims by the placements it satisfies."""

    id = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    key = fields.CharField(max_length=64)  # hash of the needs
    engine = fields.CharField(max_length=30)
    labels = fields.TextField()  # JSON list, sorted
    runner_no = fields.BigIntField(null=True)  # pinned to this runner
    root = fields.TextField()  # an allowed directory must cover this

    class Meta:
        table = "placements"
        unique_together = (("org_id", "key"),)


class Run(Model):
    """One execution of an agent."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    status = fields.CharField(max_length=12)
    engine = fields.CharField(max_length=30)
    prompt = fields.TextField()
    cwd = fields.TextField()
    permission_mode = fields.CharField(max_length=20)
    model = fields.CharField(max_length=200, null=True)
    limits = fields.TextField()  # JSON of wire.Limits
    allowed_tools = fields.TextField()  # JSON list
    created_by = fields.CharField(max_length=64)  # `key:<id>` or `user:<id>`
    request_id = fields.CharField(max_length=64, null=True)  # of the request that set it going, for logs

    parent_no = fields.BigIntField(null=True)  # the run whose CLI session this one went on with
    parent_id = fields.CharField(max_length=36, null=True)
    session_id = fields.CharField(max_length=100, null=True)  # the CLI's own session
    resume = fields.CharField(max_length=20, null=True)  # why the next attempt resumes it
    next_prompt = fields.TextField(null=True)  # what the next attempt is told, when not `prompt`
    fork = fields.BooleanField(default=False)
    followups = fields.IntField(default=0)  # children that went on with this run's session; the second forks it

    agent_id = fields.CharField(max_length=36, null=True)
    agent = fields.TextField(null=True)  # JSON of wire.AgentSnapshot: the agent as it was at the launch
    task_id = fields.CharField(max_length=36, null=True)
    awaits = fields.IntField(db_default=0, default=0)  # what it must still hear before it may end
    is_sealed = fields.BooleanField(db_default=False, default=False)  # its log is packed, as far as it can be
    account = fields.TextField(null=True)  # JSON of usage.Account: whom its usage is counted for

    labels = fields.TextField()  # JSON list: a runner must have all of them
    placement_id = fields.BigIntField()
    hold = fields.CharField(max_length=200, null=True)  # why policy forbids a claim now
    priority = fields.SmallIntField(default=0)  # higher first
    pinned_no = fields.BigIntField(null=True)  # the runner it was asked to go to
    runner_no = fields.BigIntField(null=True)  # the runner of the latest claim
    runner_session = fields.CharField(max_length=64, null=True)
    attempt = fields.IntField(default=0)
    lease = fields.CharField(max_length=64, null=True)  # of the latest attempt
    attempt_open = fields.BooleanField(default=False)  # claimed and not ended: only then is the lease good
    tries = fields.IntField(default=0)  # failures so far

    last_seq = fields.BigIntField(default=0)
    spool_n = fields.BigIntField(default=0)  # events of the present attempt that are stored

    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()  # of the last change of state; not indexed, not touched by plain events
    claimed_at = fields.BigIntField(null=True)
    started_at = fields.BigIntField(null=True)  # of the present attempt
    ended_at = fields.BigIntField(null=True)
    unreachable_since = fields.BigIntField(null=True)
    cancel_requested_at = fields.BigIntField(null=True)
    cancel_by = fields.CharField(max_length=64, null=True)
    pause_requested = fields.TextField(null=True)  # JSON of wire.Pause, until the attempt has ended
    reason = fields.TextField(null=True)  # JSON {code, message, hint} of a failure, cancellation or pause

    class Meta:
        table = "runs"
        indexes = (
            ("org_id", "no"),
            ("org_id", "status", "no"),
        )  # beside the partial ones of migration 0002


class Reservation(Model):
    """Money that budgets keep for a run, or, of a run that is held or paused for want of it, none."""

    run_no = fields.BigIntField(primary_key=True, generated=False)
    org_id = fields.BigIntField()
    attempt = fields.IntField(default=0)  # the attempt that was told how much it may spend; 0: none yet
    base_micros = fields.BigIntField()  # what the run had spent before
    granted_micros = fields.BigIntField()  # what it may spend from there on

    class Meta:
        table = "reservations"
        indexes = (("org_id",),)


class Remains(Model):
    """The log of a run that was deleted, until all of it is gone."""

    run_no = fields.BigIntField(primary_key=True, generated=False)
    org_id = fields.BigIntField()

    class Meta:
        table = "remains"


class Command(Model):
    """Something the server wants done about a run on a runner. Offered until its result is stored."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    runner_no = fields.BigIntField()
    run_no = fields.BigIntField()
    run_id = fields.CharField(max_length=36)
    attempt = fields.IntField()
    kind = fields.CharField(max_length=20)
    payload = fields.TextField()
    created_at = fields.BigIntField()
    done_at = fields.BigIntField(null=True)
    status = fields.CharField(max_length=20, null=True)
    message = fields.TextField(null=True)

    class Meta:
        table = "commands"
        indexes = (("run_no",),)


class Input(Model):
    """Something a run must be told, by its live attempt or by its next one."""

    no = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    run_no = fields.BigIntField()
    text = fields.TextField()
    created_at = fields.BigIntField()
    done_at = fields.BigIntField(null=True)

    class Meta:
        table = "inputs"
        indexes = (("run_no", "no"),)


class Call(Model):
    """An agent's call of one of Corral's tools, and its answer."""

    no = fields.BigIntField(primary_key=True)
    org_id = fields.BigIntField()
    run_no = fields.BigIntField()
    call_id = fields.CharField(max_length=100)
    attempt = fields.IntField()
    tool = fields.CharField(max_length=40)
    input_hash = fields.CharField(max_length=64)
    answer = fields.TextField(null=True)
    is_error = fields.BooleanField(default=False)
    created_at = fields.BigIntField()
    done_at = fields.BigIntField(null=True)

    class Meta:
        table = "calls"
        unique_together = (("run_no", "call_id"),)
        indexes = (("run_no", "input_hash"),)


class Approval(Model):
    """A question to people: answered once, from anywhere, bound to the exact action."""

    no = fields.BigIntField(primary_key=True)
    id = fields.CharField(max_length=36, unique=True)
    org_id = fields.BigIntField()
    run_no = fields.BigIntField()
    run_id = fields.CharField(max_length=36)
    attempt = fields.IntField()
    request_id = fields.CharField(max_length=100)
    kind = fields.CharField(max_length=12)
    tool = fields.CharField(max_length=200)
    input = fields.TextField()  # JSON, exactly as the agent asked
    action_hash = fields.CharField(max_length=64)  # of kind, tool, input and cwd
    cwd = fields.TextField()
    description = fields.TextField()
    runner_name = fields.CharField(max_length=100)
    status = fields.CharField(max_length=12)  # pending | allowed | denied | expired | withdrawn
    decision = fields.CharField(max_length=10, null=True)  # allow | deny
    reason = fields.TextField(null=True)
    answers = fields.TextField(null=True)  # JSON
    answered_by = fields.CharField(max_length=64, null=True)
    created_at = fields.BigIntField()
    expires_at = fields.BigIntField()
    answered_at = fields.BigIntField(null=True)
    call_no = fields.BigIntField(null=True)  # the call of Corral's own tool that the answer answers
    applied_at = fields.BigIntField(null=True)  # when a runner was given the answer; it applies once

    class Meta:
        table = "approvals"
        unique_together = (("run_no", "attempt", "request_id"),)
        indexes = (("org_id", "no"), ("run_no", "action_hash"))
