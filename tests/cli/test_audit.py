"""`corral audit`: listed, filtered, and written as a table."""

from __future__ import annotations

import csv
import io
import uuid
from pathlib import Path

from tests.cli.conftest import Command
from tests.support.server import Server


def test_lines_are_listed_filtered_and_written_to_a_file(corral: Command, hand_server: Server, folder: Path) -> None:
    with hand_server.api() as api:
        epic = api.post("/api/epics", body={"title": f"Told {uuid.uuid4().hex[:6]}"}).json()
        api.delete("/api/epics/:id", epic["id"])
    of_epic = ("--target", epic["id"], "--since", "1h")
    listed = corral("audit", *of_epic, server=hand_server)
    head, newest, _ = listed.out.splitlines()
    assert head.split() == ["WHEN", "WHO", "ACTION", "TARGET", "FROM"]
    assert newest.split()[-5:] == ["epic.deleted", "epic", *epic["title"].split(), "127.0.0.1"]
    (made,) = corral("audit", *of_epic, "--action", "epic.created", "--json", server=hand_server).json()
    assert made["detail"] == {"title": epic["title"]}
    assert corral("audit", *of_epic, "--until", "2020-01-01", server=hand_server).err == "No such line.\n"
    done = corral("audit", *of_epic, "--output", "audit.csv", server=hand_server)
    assert "Written to audit.csv" in done.err
    rows = list(csv.DictReader(io.StringIO((folder / "audit.csv").read_text())))
    assert [row["action"] for row in rows] == ["epic.deleted", "epic.created"]
    assert corral("audit", *of_epic, "--csv", server=hand_server).out.count("\n") == 3


def test_what_cannot_be_meant_is_said(corral: Command, hand_server: Server) -> None:
    for wrong in (("--actor", "ada"), ("--since", "soon"), ("--csv", "--json")):
        assert corral("audit", *wrong, server=hand_server).code == 2
    zoo = corral("audit", "--kind", "zoo", server=hand_server)
    assert zoo.code == 2
    assert "must be one of agent, approval, budget" in zoo.err


def test_what_is_done_on_the_servers_machine_is_the_operators_doing(corral: Command, hand_server: Server) -> None:
    corral("limits", "set", "99999", "--org", "1", server=hand_server)
    corral("limits", "set", "default", "--org", "1", server=hand_server)
    lines = corral("audit", "--actor", "operator", "--json", "--limit", "1000", server=hand_server).json()
    assert {"org.created", "key.created", "sign_in_link.created"} <= {line["action"] for line in lines}
    assert [line["action"] for line in lines[:2]] == ["limits.changed", "limits.changed"]
    assert lines[0]["detail"] == {"from": {"rate_limit": 99999}, "to": {"rate_limit": None}}
