"""The support itself: what every other test stands on."""

import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import migrate
from tests.support import waiting
from tests.support.model import Model
from tests.support.postgres import Postgres
from tests.support.processes import Process, base_env, gone
from tests.support.redis import Redis, pong
from tests.support.waiting import eventually, never


def test_eventually_says_what_it_waited_for_and_what_it_saw() -> None:
    with pytest.raises(AssertionError, match=r"the moon is full[\s\S]*last seen: .*crescent"):
        eventually(crescent, within=0.1, what="the moon is full")


def crescent() -> bool:
    raise AssertionError("crescent")


@pytest.mark.parametrize(("now", "slept"), [(86_399.0, [1.1]), (86_400.0, []), (43_200.0, [])])
def test_no_test_begins_right_before_midnight(now: float, slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(waiting, "time", SimpleNamespace(time=lambda: now, sleep=told.append))
    waiting.until_after_midnight()
    assert told == pytest.approx(slept)
    waiting.until_after_midnight(of_any_zone=True)
    assert len(told) == 2 * len(slept)


def test_never_fails_as_soon_as_it_happens() -> None:
    with pytest.raises(AssertionError, match="must not"):
        never(lambda: True)


def test_a_database_is_copied_from_a_template(postgres: Postgres) -> None:
    def fill(url: str) -> None:
        postgres.sql("CREATE TABLE told (text TEXT)", url.rpartition("/")[2])

    name = postgres.template("support_test", fill)
    with postgres.database(name) as url:
        assert postgres.sql("SELECT count(*) FROM told", url.rpartition("/")[2]) == "0"


def test_a_migrated_database_is_empty_again_for_the_next_test(postgres: Postgres) -> None:
    for _ in range(2):
        with postgres.migrated(migrate) as url:
            made = "INSERT INTO orgs (name, created_at) VALUES ('Acme', 0) RETURNING id"
            assert postgres.sql(made, url.rpartition("/")[2]) == "1"


def test_a_redis_answers(redis: Redis) -> None:
    if redis.process:
        assert pong(int(redis.process.command[2]))


def test_the_model_server_lists_what_it_served(model: Model) -> None:
    assert isinstance(model.served(), list)


def test_a_process_ends_with_its_group(tmp_path: Path) -> None:
    child_first = "print(subprocess.Popen(['sleep', '60']).pid, 'started', flush=True)"
    script = f"import subprocess, time; {child_first}; time.sleep(60)"
    process = Process(
        "parent", [sys.executable, "-c", script], env=base_env(tmp_path), log=tmp_path / "log", cwd=tmp_path
    )
    process.start()
    child = int(process.wait_for_line("started").split()[0])
    process.stop()
    gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_a_process_ends_when_the_test_process_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.support.processes import Process, base_env;"
        f"log = Path({str(tmp_path / 'log')!r}); root = Path('/');"
        "p = Process('x', ['sleep', '60'], env=base_env(root), log=log, cwd=root);"
        "p.start(); print(p.pid, 'started', flush=True); time.sleep(60)"
    )
    env = {**base_env(tmp_path), "PYTHONPATH": str(Path.cwd())}
    parent = Process("tester", [sys.executable, "-c", script], env=env, log=tmp_path / "out", cwd=tmp_path)
    parent.start()
    child = int(parent.wait_for_line("started").split()[0])
    parent.signal(signal.SIGKILL)
    gone(child)
