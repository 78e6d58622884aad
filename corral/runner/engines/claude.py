"""The worker for Claude Code, `python -m corral.runner.engines.claude`: waits for one attempt, executes it, and exits.

`claude_attempt` is its story; `claude_cli` owns the process, `claude_events` and `claude_usage` turn what it says into
events and ledger lines, `claude_approvals` carries its questions to people, `claude_tools` its calls of Corral's tools
to the job, `claude_mcp` tells it of MCP servers, `claude_pace` holds it where its cost is limited, `claude_outcome`
names the end.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import warnings

from corral.runner import tree
from corral.runner.engines.claude_attempt import Attempt
from corral.runner.engines.protocol import Ready, Start
from corral.runner.engines.stdio import Channel


def main() -> None:
    """Run the worker until its attempt has ended or the job is gone."""
    # The SDK warns that some permission modes and allowed tools don't ask. That is what they are for.
    warnings.filterwarnings("ignore", module=r"claude_agent_sdk\b.*")
    asyncio.run(_work(Channel()))


async def _work(channel: Channel) -> None:
    channel.listen()
    tree.adopt_orphans()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, channel.end)
    # ^C in the runner's terminal is for the runner, which decides what becomes of us.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    channel.send(Ready())
    start = await channel.receive()
    if not isinstance(start, Start):
        return
    attempt = Attempt(start, channel.send, channel.waiting)
    if sys.platform == "linux":
        loop.add_signal_handler(signal.SIGCHLD, attempt.cli.reap_orphans)
    listener = asyncio.create_task(_listen(channel, attempt))
    await attempt.run()
    listener.cancel()


async def _listen(channel: Channel, attempt: Attempt) -> None:
    """Hand the job's lines to the attempt. Their end means that the job is gone, or told us to go."""
    while (line := await channel.receive()) is not None:
        attempt.handle(line)
    attempt.abandon()


if __name__ == "__main__":
    main()
