"""What people say to a run while it goes on."""

from tests.engines.worker import Worker


def say(worker: Worker, text: str, number: int = 0) -> None:
    worker.say("message", message={"text": text, "input": number})


def test_a_message_joins_the_tool_that_runs_one_during_the_final_text_is_answered_and_the_end_names_them(
    worker: Worker,
) -> None:
    worker.start(
        "%keep %% %bash sleep 0.7 %% %pace 20 %% %say you said: {{user}}, and I will think about it for a while"
    )
    worker.wait_event("agent.tool_call")
    say(worker, "hurry up", 7)
    worker.wait_line("token")
    say(worker, "%say yes")
    say(worker, "%say no", 9)
    assert worker.completed() == "no"
    assert worker.payloads("run.completed")[0]["inputs"] == [7, 9]
    assert worker.payloads("agent.message")[0]["text"].startswith("you said: hurry up, and")
    assert worker.payloads("user.message") == []  # the server has told it already
    (result,) = worker.payloads("run.result")
    assert round(result["cost_usd"] * 1e6) == sum(line["cost_micros"] for line in worker.usage())
    assert len({line["source"] for line in worker.usage()}) == len(worker.usage()) >= 2


def test_a_message_before_claude_code_is_up_comes_after_the_prompt(worker: Worker) -> None:
    worker.start("%say one")
    say(worker, "%say two")
    assert worker.completed() == "two"
