"""What was measured, against what it should be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measurement. With a raw figure beside it the bound is on the ratio, else on the figure itself."""

    benchmark: str
    what: str
    unit: str
    corral: float
    raw: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def ratio(self) -> float | None:
        """Corral's figure as so many times raw's."""
        return self.corral / self.raw if self.raw else None

    @property
    def met(self) -> bool | None:
        """Whether the bound holds; None where there is none."""
        judged = self.corral if self.ratio is None else self.ratio
        if self.at_most is not None:
            return judged <= self.at_most
        if self.at_least is not None:
            return judged >= self.at_least
        return None

    @property
    def bound(self) -> str:
        """The bound in words."""
        sign, value = ("≤", self.at_most) if self.at_most is not None else ("≥", self.at_least)
        if value is None:
            return ""
        return f"{sign} {value:g} × raw" if self.raw is not None else f"{sign} {value:g} {self.unit}"


def as_json(figures: Sequence[Figure], **about: object) -> str:
    """Return all figures as JSON."""
    rows = [{**asdict(figure), "ratio": figure.ratio, "met": figure.met} for figure in figures]
    return json.dumps({**about, "figures": rows}, indent=2)


def show(figures: Sequence[Figure]) -> None:
    """Print the figures as a table."""
    table = Table(box=None, pad_edge=False)
    for name in ("benchmark", "what", "unit"):
        table.add_column(name)
    for name in ("corral", "raw", "ratio", "bound"):
        table.add_column(name, justify="right")
    table.add_column("")
    for figure in figures:
        verdict = {True: "[green]ok[/]", False: "[red]misses[/]", None: ""}[figure.met]
        table.add_row(
            figure.benchmark,
            figure.what,
            figure.unit,
            _number(figure.corral),
            _number(figure.raw),
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.bound,
            verdict,
        )
    Console(width=None if Console().is_terminal else 140).print(table)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
