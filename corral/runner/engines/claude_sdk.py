"""What Corral uses of the Claude Agent SDK, without what the SDK needs for MCP servers inside of its own process.

Those are not ours: Claude Code itself talks to MCP servers. Yet for them the SDK imports all of `mcp`, which costs
every worker 0.4 s of processor time at its start and 45 MB for its life.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_UNUSED = ("mcp", "jsonschema")


class _Empty:
    def __init_subclass__(cls, **_: object) -> None:
        """Take whatever a real base would."""


class _StandIn(ModuleType):
    """A module whose every name is an empty class: enough for type hints and to derive from."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (_Empty,), {})
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in _UNUSED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """A stand-in has nothing to run."""


@contextlib.contextmanager
def _without_unused() -> Iterator[None]:
    """Let what is imported meanwhile find stand-ins; whoever imports those packages later gets the real ones."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]:
            del sys.modules[name]


with _without_unused():
    from claude_agent_sdk import (
        ClaudeAgentOptions,
        ClaudeSDKClient,
        CLINotFoundError,
        HookMatcher,
        PermissionResultAllow,
        PermissionResultDeny,
        ProcessError,
        ToolPermissionContext,
    )

    # Not public, but the only way to the process's id and to all that a message holds; the SDK's version is pinned.
    from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport

PermissionResult = PermissionResultAllow | PermissionResultDeny

__all__ = [
    "CLINotFoundError",
    "ClaudeAgentOptions",
    "ClaudeSDKClient",
    "HookMatcher",
    "PermissionResult",
    "PermissionResultAllow",
    "PermissionResultDeny",
    "ProcessError",
    "SubprocessCLITransport",
    "ToolPermissionContext",
]
