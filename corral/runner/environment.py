"""Which of the runner's variables an agent's processes may see: a list of their own, and never the runner's key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from corral.base.ordinary import is_credential

#: The variable that marks every process of a run, so that the tree can be found even when its root is gone.
MARK = "CORRAL_RUN"

_PASSED = frozenset(
    "PATH HOME USER SHELL LANG TERM TMPDIR IS_SANDBOX"
    " HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy"
    " SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO".split()
)
_PASSED_PREFIXES = ("LC_", "ANTHROPIC_", "CLAUDE_", "OPENAI_", "CODEX_", "OPENCLAW_")
#: Not even CORRAL_PASS_ENV lets these through.
_NEVER = frozenset(
    "CORRAL_API_KEY CORRAL_API_KEY_FILE CORRAL_PARENT_PIPE CORRAL_SECRET_KEY CORRAL_SECRET_KEY_FILE".split()
)


def scrub(env: Mapping[str, str], pass_env: Sequence[str] = ()) -> dict[str, str]:
    """Return what a worker, and with it every CLI, gets of the runner's environment."""
    allowed = _PASSED | frozenset(pass_env)
    return {
        name: value
        for name, value in env.items()
        if (name in allowed or name.startswith(_PASSED_PREFIXES)) and name not in _NEVER
    }


def for_run(run_id: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return what the CLI of this run gets on top: what the server gave for it, and the mark."""
    return {**{name: value for name, value in given.items() if name not in _NEVER}, MARK: run_id}


def credentials(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the variables that nobody is to read, by their names: keys of models' APIs, proxies with a password."""
    return ((name, value) for name, value in env.items() if is_credential(name, value))
