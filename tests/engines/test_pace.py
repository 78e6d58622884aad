"""Where the cost of an attempt is limited, the agent asks before it asks the model again, and its sub-agents do."""

from __future__ import annotations

import json

from tests.engines.worker import Worker, served
from tests.support.model import Model
from tests.support.waiting import eventually

AGENT = {"description": "look", "subagent_type": "general-purpose", "run_in_background": False}
INNER = "%usage in=0 out=70 %% %bash echo deep %% %say got {{{result}}}"


def test_nothing_is_asked_of_the_model_until_that_may_be(worker: Worker, model: Model) -> None:
    agent = json.dumps({**AGENT, "prompt": INNER})
    script = f"%usage in=0 out=500\n%bash echo a\n%bash echo b\n%next\n%tool Agent {agent}\n%say all"
    worker.start(script, money={"allowed_micros": 1, "prices": []})
    asked = []
    for count, turns in enumerate((1, 3, 4), 1):  # after two calls at once, in the sub-agent, and after that
        asked.append(eventually(lambda at=count: worker.of("may_go_on")[at - 1], what=f"question {count}"))  # type: ignore[misc]
        assert len(model.served(session=worker.session, kind="turn")) == turns
        if count == 1:
            before = worker.lines[: worker.lines.index(asked[0])]
            assert [one["usage"]["output_tokens"] for one in before if one["line"] == "draft"][-1] == 500
            assert len([one for one in before if one["line"] == "event" and one["type"] == "agent.tool_result"]) == 2
        worker.say("go_on", id=asked[-1]["id"])
    assert worker.completed() == "all"
    assert worker.spent() == served(model, worker.session)
