"""Paths of other machines are compared right, whatever machine the server is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.base.paths import covers, parse, split_list


@pytest.mark.parametrize(
    ("root", "path", "covered"),
    [
        ("/code", "/code", True),
        ("/code", "/code/api", True),
        ("/code/", "/code/api/", True),
        ("/code", "/codex", False),
        ("/code", "/code/../etc", False),
        ("/code", "/code/./a/../b", True),
        ("//code", "/code/a", True),
        ("/", "/anything", True),
        ("/code", "code/a", False),
        ("/Code", "/code/a", False),
        (r"C:\Users\you\code", r"C:\Users\you\code\api", True),
        (r"C:\Users\you\code", r"c:\users\YOU\code\api", True),
        ("C:/Users/you/code", r"C:\Users\you\code\api", True),
        (r"C:\Users\you\code", r"C:\Users\you\code\..\..\other", False),
        (r"C:\Users", r"D:\Users\a", False),
        (r"\\host\share\code", r"\\host\share\code\a", True),
        (r"\\host\share\code", r"\\host\other\code\a", False),
        ("/code", r"C:\code", False),
        ("C:relative", r"C:\relative\a", False),
        ("/co\0de", "/co\0de/a", False),
    ],
)
def test_a_directory_covers_itself_and_what_lies_under_it_and_nothing_else(root: str, path: str, covered: bool) -> None:
    assert covers(root, path) is covered


@given(st.lists(st.sampled_from(["a", "b", "..", "."]), max_size=8))
def test_no_spelling_of_a_path_climbs_out_of_the_directory_it_is_compared_with(parts: list[str]) -> None:
    path = "/root/" + "/".join(parts)
    depth, escaped = 1, False
    for part in parts:
        depth += {"..": -1, ".": 0}.get(part, 1)
        escaped = escaped or depth < 1
    if covers("/root", path):
        folded = parse(path)
        assert folded is not None
        assert folded.parts[:2] == ("/", "root")
    elif not escaped:
        pytest.fail(f"{path} never leaves /root")


def test_colons_separate_directories_on_posix_only_and_commas_everywhere() -> None:
    assert split_list("/a:/b, /c", windows=False) == ["/a", "/b", "/c"]
    assert split_list(r"C:\a, D:\b", windows=True) == [r"C:\a", r"D:\b"]
    assert split_list(" , :", windows=False) == []
