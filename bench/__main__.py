"""`python -m bench [NAME…] [--quick] [--store sqlite|postgres] [--json]`: measure Corral against the raw baselines."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
import traceback
from collections.abc import Awaitable, Callable

import uvloop

from bench import budgets, claims, delegation, dispatch, events, limits, lists, mail, many, redact, start, tasks, usage
from bench.report import Figure, as_json, show
from bench.servers import Bench

BENCHMARKS: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {
    "dispatch_idle": dispatch.idle,
    "dispatch_load": dispatch.load,
    "claims": claims.flat,
    "events": events.throughput,
    "latency": events.latency,
    "mail": mail.latency,
    "delegation": delegation.delegation,
    "tasks": tasks.listing,
    "lists": lists.pages,
    "many_servers": many.servers,
    "many_keys": many.keys,
    "usage": usage.report,
    "budgets": budgets.money,
    "limits": limits.checks,
    "redact": redact.busy,
    "start": start.start,
    "memory": start.memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which ones (all): {', '.join(BENCHMARKS)}; a part of a name will do"
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the time, and less certain")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    chosen = [name for name in BENCHMARKS if not options.names or any(part in name for part in options.names)]
    if not chosen:
        parser.error(f"there are {', '.join(BENCHMARKS)}")
    figures: list[Figure] = []
    failed: list[str] = []
    bench = Bench(options.store, quick=options.quick)
    began = time.monotonic()
    try:
        for name in chosen:
            print(f"{name} …", end=" ", flush=True, file=sys.stderr)
            at = time.monotonic()
            try:
                figures += uvloop.run(measured(name, bench))
            except Exception:  # noqa: BLE001 - the others are worth knowing all the same
                failed.append(name)
                traceback.print_exc()
            print(f"{time.monotonic() - at:.0f} s", file=sys.stderr)
    finally:
        bench.close()
    if options.json:
        about = {
            "store": options.store,
            "quick": options.quick,
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        }
        print(as_json(figures, **about, seconds=round(time.monotonic() - began)))
    else:
        show(figures)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


async def measured(name: str, bench: Bench) -> list[Figure]:
    """Run one benchmark, no longer than anything here may take."""
    async with asyncio.timeout(240):
        return list(await BENCHMARKS[name](bench))


if __name__ == "__main__":
    main()
