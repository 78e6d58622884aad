"""Templates to HTML: one environment, the filters and macros all pages have, and what the shell around them shows."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corral.platform.access import Role
from corral.platform.orgs import Org
from corral.web.console import words

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

STATIC = Path(__file__).parents[1] / "static"
THEMES = ("light", "dark")


@dataclass(frozen=True, slots=True)
class NavItem:
    """One entry of the rail: `g` and its letter lead there."""

    key: str
    label: str
    path: str
    letter: str
    tucked: bool = False  #: on a phone it stands in the menu: its bar has room for four
    least: Role = Role.VIEWER  #: who has nothing to do there is not led there
    group: str = ""  #: the heading that it stands below


_ORGANISATION = "Organisation"
#: The rail, top to bottom. A later page adds its line here.
NAV = (
    NavItem("inbox", "Inbox", "/app/inbox", "i"),
    NavItem("agents", "Agents", "/app/agents", "a"),
    NavItem("board", "Board", "/app/board", "b"),
    NavItem("runs", "Runs", "/app/runs", "r"),
    NavItem("bus", "Bus", "/app/bus", "u", tucked=True),
    NavItem("runners", "Runners", "/app/runners", "m", tucked=True),
    NavItem("mcps", "MCP servers", "/app/mcps", "t", tucked=True),
    NavItem("secrets", "Secrets", "/app/secrets", "e", tucked=True),
    NavItem("usage", "Usage", "/app/usage", "c", tucked=True),
    NavItem("budgets", "Budgets", "/app/budgets", "d", tucked=True),
    NavItem("people", "People", "/app/people", "p", tucked=True, group=_ORGANISATION),
    NavItem("keys", "Keys", "/app/keys", "k", tucked=True, group=_ORGANISATION),
    NavItem("plan", "Plan", "/app/plan", "n", tucked=True, group=_ORGANISATION),
    NavItem("audit", "Audit", "/app/audit", "l", tucked=True, least=Role.ADMIN, group=_ORGANISATION),
    NavItem("settings", "Settings", "/app/settings", "s", tucked=True, group=_ORGANISATION),
    NavItem("system", "System", "/app/system", "y", tucked=True, least=Role.ADMIN, group=_ORGANISATION),
)


@dataclass(frozen=True, slots=True)
class Shell:
    """What stands around a page."""

    org: str
    user: str
    here: str  #: the nav entry of this page
    path: str  #: this page's own path and query, where a form comes back to
    theme: str | None = None  #: light | dark; None follows the system
    csrf: str = ""
    pending: int = 0  #: approvals that wait
    nav: tuple[NavItem, ...] = NAV
    org_id: int = 0
    user_id: str = ""
    orgs: Sequence[Org] = ()  #: those to switch between, if there are several
    may_make_orgs: bool = False
    may: Callable[..., bool] = lambda *_: False  #: what is behind a scope (and a role): who may not is offered nothing


def render(template: str, shell: Shell, **values: Any) -> str:
    """Render one page; `values` are what its template names."""
    return (
        _environment()
        .get_template(template)
        .render(shell=shell, here=shell.path, may=shell.may, csrf=_csrf_field(shell.csrf), asset=asset, **values)
    )


def asset(name: str) -> str:
    """Return the path of a built asset, whose name changes with its content."""
    return f"/static/{_manifest()[name]}"


@cache
def _manifest() -> dict[str, str]:
    try:
        names: dict[str, str] = json.loads((STATIC / "manifest.json").read_text())
    except FileNotFoundError:
        raise RuntimeError("The console's assets are not built: run `make assets`.") from None
    return names


@cache
def _environment() -> Environment:
    # Imported with the first page, so that a server's start does not wait for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Callable[..., str]] = {
        "rfc3339": words.rfc3339,
        "ago": words.ago,
        "until": words.until,
        "money": words.money,
        "dollars": words.dollars,
        "exact_money": words.exact_money,
        "tokens": words.tokens,
        "number": words.number,
        "per_cent": words.per_cent,
        "checksum": _checksum,
    }
    environment.filters.update(filters)
    macros = environment.get_template("parts/macros.html").module
    of_words, of_forms = ("ago", "until", "status", "cost_of", "glyph"), ("sends", "refused", "wrong", "invalid")
    for name in (*of_words, *of_forms, "copyable", "live"):
        environment.globals[name] = getattr(macros, name)
    return environment


def _checksum(text: str) -> str:
    """Return an id for a text that a page keeps, and does not draw anew, until it is another."""
    return f"{zlib.crc32(text.encode()):x}"


def _csrf_field(token: str) -> Callable[[], Markup]:
    from markupsafe import Markup

    field = Markup('<input type="hidden" name="csrf" value="{}">').format(token)
    return lambda: field
