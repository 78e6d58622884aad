"""Secrets from a terminal: what goes in never comes out."""

from __future__ import annotations

from tests.cli.conftest import Command
from tests.support.server import Server

VALUE = "sk-typed-by-nobody"


def test_a_secret_is_set_listed_rotated_and_deleted(corral: Command, hand_server: Server) -> None:
    done = corral("secrets", "set", "CLI_TOKEN", server=hand_server, stdin=f"{VALUE}\n")
    assert (done.code, done.out, done.err) == (0, "Stored.\n", "")
    ordinary = corral("secrets", "set", "CLI_TOKEN", server=hand_server, stdin="production\n")
    assert (ordinary.code, ordinary.out) == (0, "Stored.\n")
    assert "not masked where agents print it: it is an ordinary word." in ordinary.err
    listed = corral("secrets", server=hand_server)
    (line,) = [line for line in listed.out.splitlines() if line.startswith("CLI_TOKEN")]
    assert line.split()[1:3] == ["org", "2"]
    assert line.split()[-1] == "never"
    assert VALUE not in listed.out
    assert "never used" in corral("secrets", "uses", "CLI_TOKEN", server=hand_server).err
    assert corral("secrets", "uses", "CLI_TOKEN", "--json", server=hand_server).out == "[]\n"
    rotated = corral("secrets", "rotate", server=hand_server)
    assert rotated.code == 0, rotated.err
    assert "Encrypted anew" in rotated.out
    assert len((hand_server.data / "secret.key").read_text().split()) >= 2
    assert corral("secrets", "delete", "CLI_TOKEN", server=hand_server).out == "Deleted.\n"
    gone = corral("secrets", "delete", "CLI_TOKEN", server=hand_server)
    assert gone.code == 1
    assert "CLI_TOKEN" in gone.err


def test_a_value_is_never_an_argument_nor_empty(corral: Command, hand_server: Server) -> None:
    assert corral("secrets", "set", "CLI_EMPTY", VALUE, server=hand_server).code == 2
    empty = corral("secrets", "set", "CLI_EMPTY", server=hand_server, stdin="\n")
    assert empty.code == 2
    assert "value" in empty.err
