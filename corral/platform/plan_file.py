"""Plans, read from a TOML file. What is wrong in it is told with its key and its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from corral.base.errors import BadRequest
from corral.platform.plans import FEATURES, LIMITS, UNLIMITED, Plan, Plans

_NAME_LONGEST = 100


def read(path: str) -> Plans | None:
    """Return the plans of a file; None without one."""
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
        told = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"names {path}, which cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise _wrong(f"names {path}, which is no TOML: {error}") from error
    return _File(path, text).plans(told)


class _File:
    """A file, whose text says where a key stands."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def plans(self, told: dict[str, Any]) -> Plans:
        self._known(told, {"default", "plans"}, ())
        plans = self._table(told.get("plans", {}), ("plans",))
        by_name = {name: self._plan(name, self._table(one, ("plans", name))) for name, one in plans.items()}
        default = told.get("default")
        if default is None:
            by_name.setdefault(UNLIMITED, Plan(UNLIMITED))
            return Plans(by_name, by_name[UNLIMITED])
        if not isinstance(default, str) or default not in by_name:
            self._refuse(("default",), f"must name one of the plans ({', '.join(by_name) or 'none'}), not {default!r}")
        return Plans(by_name, by_name[default])

    def _plan(self, name: str, told: dict[str, Any]) -> Plan:
        at = ("plans", name)
        if not 0 < len(name) <= _NAME_LONGEST:
            self._refuse(at, f"must have a name of 1 to {_NAME_LONGEST} characters")
        self._known(told, {"limits", "features"}, at)
        limits = self._table(told.get("limits", {}), (*at, "limits"))
        features = self._table(told.get("features", {}), (*at, "features"))
        self._known(limits, LIMITS, (*at, "limits"))
        self._known(features, FEATURES, (*at, "features"))
        for what, number in limits.items():
            if type(number) is not int or number < 0:
                self._refuse((*at, "limits", what), f"must be a whole number of 0 or more, not {number!r}")
        for feature, is_on in features.items():
            if not isinstance(is_on, bool):
                self._refuse((*at, "features", feature), f"must be true or false, not {is_on!r}")
        return Plan(name, limits, features)

    def _known(self, told: dict[str, Any], known: Any, at: tuple[str, ...]) -> None:
        for key in told:
            if key not in known:
                self._refuse((*at, key), f"is not known here; there are {', '.join(sorted(known))}")

    def _table(self, value: Any, at: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._refuse(at, f"must be a table, not {value!r}")
        return value

    def _refuse(self, at: tuple[str, ...], why: str) -> NoReturn:
        raise _wrong(f"{self._path}, line {self._line(at)}: {'.'.join(at)} {why}")

    def _line(self, at: tuple[str, ...]) -> int:
        """Return where a key stands: its parts follow one another, whichever of TOML's ways it is written in."""
        line, column = 0, 0
        for part in at:
            key = re.compile(rf"""(?<![\w-])["']?{re.escape(part)}["']?(?=\s*[=.\]])""")
            for number in range(line, len(self._lines)):
                code = self._lines[number].partition("#")[0]
                if found := key.search(code, column if number == line else 0):
                    line, column = number, found.end()
                    break
        return line + 1


def _wrong(why: str) -> BadRequest:
    return BadRequest(f"CORRAL_PLANS: {why}", field="CORRAL_PLANS")
