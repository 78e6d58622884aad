"""One attempt after another on the same session of Claude Code, whose sums of tokens and cost go on and on."""

from tests.engines.conftest import WorkerMaker
from tests.engines.worker import CLASSES, Worker, served
from tests.support.model import Model

Sums = dict[str, dict[str, int]]


def test_follow_ups_and_forks_go_on_with_the_session_and_count_only_their_own(
    make_worker: WorkerMaker, model: Model
) -> None:
    first, fork, second = (make_worker() for _ in range(3))
    first.start("%keep %% %bash echo a %% %say one %% %next %% %say two")
    assert first.completed() == "one"
    before = served(model, first.session)
    assert first.spent() == before
    fork.start("go on", session_id=first.session, resume="followup", fork=True)
    assert fork.completed() == "two"
    assert fork.session != first.session
    assert fork.spent() == served(model, fork.session)
    second.start("go on", session_id=first.session, resume="followup", attempt=2)
    assert second.completed() == "two"
    assert second.session == first.session
    assert _plus(before, second.spent()) == served(model, first.session)
    assert second.usage()[0]["source"].startswith("2/turn-1/")


def test_a_session_that_is_gone_is_a_failure_that_says_so(worker: Worker) -> None:
    worker.start("%say x", session_id="26733668-9142-42c0-8b2a-306229dde485", resume="followup")
    failure = worker.failed()
    assert failure["code"] == "session_not_found"
    assert "26733668" in failure["message"]


def _plus(a: Sums, b: Sums) -> Sums:
    return {name: {kind: a[name][kind] + b[name][kind] for kind in CLASSES} for name in a}
