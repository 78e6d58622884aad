"""Rows that name their parents, drawn as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Node = dict[str, Any]


def chart(nodes: Sequence[Node], *, parent: str) -> Iterator[tuple[str, Node]]:
    """Yield each node below its parent, after the lines that lead to it; whose parent is not there is at the top."""
    known = {node["id"] for node in nodes}
    below: dict[str | None, list[Node]] = {}
    for node in nodes:
        below.setdefault(node[parent] if node[parent] in known else None, []).append(node)
    for top in below.get(None, []):
        yield "", top
        yield from _branch(below, top["id"], "")


def _branch(below: dict[str | None, list[Node]], id: str, indent: str) -> Iterator[tuple[str, Node]]:
    children = below.get(id, [])
    for n, child in enumerate(children, start=1):
        is_last = n == len(children)
        yield f"{indent}{'└─ ' if is_last else '├─ '}", child
        yield from _branch(below, child["id"], f"{indent}{'   ' if is_last else '│  '}")
