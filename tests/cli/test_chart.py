"""Trees."""

from __future__ import annotations

from corral.cli.chart import chart


def test_a_tree_is_drawn_below_those_whose_parent_is_not_there() -> None:
    parents = {"ann": None, "bob": "ann", "cid": "bob", "dan": "ann", "eve": "somebody archived"}
    nodes = [{"id": name, "manager": parent} for name, parent in parents.items()]
    assert [line + node["id"] for line, node in chart(nodes, parent="manager")] == [
        "ann",
        "├─ bob",
        "│  └─ cid",
        "└─ dan",
        "eve",
    ]
