"""How an attempt ended: Claude Code's last result, or what went wrong → the event that closes it, with advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corral.runner.engines.claude_events import emit
from corral.runner.engines.claude_sdk import CLINotFoundError, ProcessError
from corral.runner.engines.protocol import Emit
from corral.wire.events import EventType

_SIGN_IN = (
    "On the runner's machine, run `claude` and enter /login, or set ANTHROPIC_API_KEY where the runner starts. "
    "`corral doctor` there says where `claude` is."
)
_ROOT = (
    "Run the runner as a user other than root, or choose another permission mode. "
    "In a container that is nothing but a sandbox, start the runner with IS_SANDBOX=1."
)
#: What the CLI calls an API failure → what a person can do about it.
_API_HINTS = {
    "rate_limit": "The API's rate limit was reached. Wait a little and retry, or run fewer agents at once.",
    "billing_error": "The account has no credit left, or its plan does not cover this model.",
    "model_not_found": "Check the model's name, and that this account may use it.",
    "invalid_request": "The API refused the request itself; a retry alone will not help.",
    "server_error": "The API had a problem of its own, or could not be reached from the runner. Retry later.",
}


def judge(
    result: Mapping[str, Any] | None, api_error: str | None, error: BaseException | None, said: Sequence[str]
) -> Emit:
    """Return the attempt's last event.

    `result` is the CLI's last, `api_error` its name for an API failure in that turn, `error` what the SDK raised,
    and `said` the last lines of the CLI's stderr.
    """
    if result is None:
        return _without_result(error, said)
    if not result.get("is_error"):
        return emit(EventType.RUN_COMPLETED, text=result.get("result") or "")
    message = _message(result)
    match result.get("subtype"):
        case "error_max_turns":
            return failed(
                "max_turns", message, "Raise the limit of turns, or continue the run to give it as many again."
            )
        case "error_max_budget_usd":
            return failed("max_budget", message, "Raise the budget, or continue the run with a new one.")
        case "success":
            return _api_failure(message, api_error, result.get("api_error_status"))
        case _ if "No conversation found" in message or "--resume requires" in message:
            hint = "The session is not in this machine's Claude Code directory (any more). Start a new run instead."
            return failed("session_not_found", message, hint)
        case _:
            return failed("cli_error", message, _last_words(said))


def failed(code: str, message: str, hint: str) -> Emit:
    """Return `run.failed`."""
    return emit(EventType.RUN_FAILED, code=code, message=message, hint=hint)


def _api_failure(message: str, api_error: str | None, status: int | None) -> Emit:
    if api_error in {"authentication_failed", "oauth_org_not_allowed"} or status == 401:
        return failed("cli_not_signed_in", message, _SIGN_IN)
    return failed(
        "model_api_error", message, _API_HINTS.get(api_error or "", "Retry when the model's API is well again.")
    )


def _without_result(error: BaseException | None, said: Sequence[str]) -> Emit:
    if isinstance(error, CLINotFoundError):
        hint = "Install it on the runner's machine (pip install 'corral[claude]'), or point CLAUDE_CLI_PATH to it."
        return failed("cli_missing", "Claude Code was not found on the runner's machine", hint)
    if error is not None and "Working directory does not exist" in str(error):
        return failed("cwd_missing", str(error), "Make the directory on the runner's machine, or choose another.")
    if any("root/sudo" in line for line in said):
        return failed("cli_error", "Claude Code does not bypass permissions for root", _ROOT)
    message = f"Claude Code {_how(error)}" if isinstance(error, ProcessError) else str(error or "").partition("\n")[0]
    return failed("cli_error", message or "Claude Code ended without a result", _last_words(said))


def _how(error: ProcessError) -> str:
    code = error.exit_code
    return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"


def _message(result: Mapping[str, Any]) -> str:
    errors = "; ".join(str(error) for error in result.get("errors") or [])
    return errors or result.get("result") or f"Claude Code ended with {result.get('subtype')}"


def _last_words(said: Sequence[str]) -> str:
    return "Claude Code's last words: " + "\n".join(said) if said else "The runner's log may tell more. Retry the run."
