"""`python -m corral.demo`: the scripted model as a process of its own.

Prints `listening on http://127.0.0.1:PORT` and serves until SIGINT, SIGTERM, or, with --watch-stdin, the end of stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading

from corral.demo.server import HUMAN_PACE, serving


def main() -> None:
    """Read the options and serve."""
    options = argparse.ArgumentParser(
        prog="python -m corral.demo", description="The scripted model server, on loopback."
    )
    options.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    options.add_argument(
        "--pace", type=float, default=HUMAN_PACE, help="tokens a second (%(default)g); 0 is as fast as possible"
    )
    options.add_argument("--watch-stdin", action="store_true", help="end when stdin does: when the parent is gone")
    chosen = options.parse_args()
    try:
        asyncio.run(_serve(chosen.port, chosen.pace, chosen.watch_stdin))
    except OSError as error:
        sys.exit(f"corral.demo: can't listen on port {chosen.port}: {error.strerror or error}")


async def _serve(port: int, pace: float, watch_stdin: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(name, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(stop.set))
    if watch_stdin:
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
    async with serving(port, pace) as server:
        print(f"listening on {server.url}", flush=True)  # noqa: T201 - the one line a parent process waits for
        await stop.wait()


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    main()
