"""What people type for an id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corral.cli.client import Client
from corral.cli.errors import CommandError
from corral.cli.naming import Names, agent_id, only
from corral.cli.runs import absolute

ONE, TWO = "0198c0de-0000-7000-8000-aaaaaaaa1111", "0198c0de-0000-7000-8000-bbbbbbbb1111"


def test_the_end_of_an_id_is_enough() -> None:
    assert only([ONE, TWO], "aaaa1111", "run") == ONE
    assert only([ONE, TWO], "…aaaa1111", "run") == ONE


def test_an_ambiguous_or_unknown_id_is_refused() -> None:
    with pytest.raises(CommandError, match="any of 2 runs"):
        only([ONE, TWO], "1111", "run")
    with pytest.raises(CommandError, match="no run"):
        only([ONE, TWO], "cccc", "run")


def test_three_letters_are_no_id() -> None:
    with pytest.raises(CommandError):
        only([ONE], "111", "run")


def test_a_directory_is_relative_to_here_unless_it_is_absolute_anywhere() -> None:
    assert absolute(".") == str(Path.cwd())
    assert absolute("/srv/x") == "/srv/x"
    assert absolute(r"C:\code\api") == r"C:\code\api"


TEAM = [
    {"id": ONE, "name": "Ada", "team": "web"},
    {"id": TWO, "name": "Bo", "team": None},
    {"id": "0198c0de-0000-7000-8000-cccccccc1111", "name": "bo", "team": "ops"},
]


class Listing(Client):
    """A client of a server that knows this team."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "key")

    def get(self, path: str, **_: Any) -> Any:
        return TEAM


def test_an_agent_is_named_by_its_name_or_by_an_end_of_its_id() -> None:
    assert agent_id(Listing(), "ada") == ONE
    assert agent_id(Listing(), "bbbb1111") == TWO
    assert agent_id(Listing(), ONE.upper()) == ONE


def test_a_name_that_several_agents_have_is_refused_with_their_ids() -> None:
    with pytest.raises(CommandError, match="2 agents are called Bo") as refused:
        agent_id(Listing(), "Bo")
    assert f"{TWO}, 0198c0de-0000-7000-8000-cccccccc1111 (ops)" in refused.value.hint


def test_agents_are_called_by_name_and_people_by_what_they_came_with() -> None:
    names = Names(Listing())
    assert names.of(ONE) == "Ada"
    assert names.of(f"key:{ONE}") == "key …aaaa1111"
    assert names.of("0198c0de-0000-7000-8000-dddddddd2222") == "…dddd2222"
