"""Workers in a home of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.worker import Worker
from tests.support.model import Model

WorkerMaker = Callable[[], Worker]


@pytest.fixture
def make_worker(folder: Path, model: Model, claude_binary: Path) -> Iterator[WorkerMaker]:
    """Start workers that share a home, and with it Claude Code's sessions."""
    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker(folder, model))
        return made[-1]

    yield make
    for worker in made:
        worker.kill()


@pytest.fixture
def worker(make_worker: WorkerMaker) -> Worker:
    return make_worker()
