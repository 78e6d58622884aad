"""Launch, watch, answer, follow up, cancel: with the real Claude Code."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import Locator, Page, expect

from tests.browser.console import Console
from tests.browser.logs import Scripted
from tests.support.http import Api
from tests.support.model import ASK_WHICH_COLOUR
from tests.support.runner import Runner


def launch(console: Console, runner: Runner, prompt: str, *, mode: str = "default") -> Page:
    page = console.goto("/app/runs/new")
    page.get_by_label("What should the agent do?").fill(prompt)
    page.get_by_label("Runner", exact=True).select_option(label=runner.name)
    page.get_by_label("Directory", exact=True).fill(str(runner.work))
    page.locator(f"input[name=permission_mode][value={mode}]").check()
    page.get_by_role("button", name="Launch").click()
    expect(page).to_have_url(re.compile(r"/app/runs/[0-9a-f-]{36}$"))
    return page


def told(page: Page, text: str) -> Locator:
    """A row of the log that is not what a person wrote: scripts of the model stand in the prompt."""
    return page.locator(".log .ev:not(.user)", has_text=text)


def test_a_run_launched_by_the_form_is_watched_to_its_end_and_followed_up_by_a_child(
    console: Console, shared_runner: Runner
) -> None:
    script = "%say Good morning, said the agent.\n%bash echo over and out\n%say All done."
    page = launch(console, shared_runner, f"Greet me, please.\n{script}")
    expect(console.heading()).to_have_text("Greet me, please.")
    expect(told(page, "Good morning, said the agent.")).to_be_visible()
    log = page.get_by_role("region", name="Log")
    expect(log.locator("summary", has_text="echo over and out")).to_be_visible()
    expect(told(page, "completed")).to_be_visible()
    expect(page.locator("#live .status").first).to_have_text("Done")
    expect(page.locator("#live")).to_contain_text(re.compile(r"tokens\s*\d"))
    log.locator("summary", has_text="echo over and out").click()
    expect(log.locator("pre.out")).to_contain_text("over and out")
    expect(page.locator("[data-legend]")).to_contain_text("running")
    page.get_by_text("Cost and tokens by model").click()
    expect(page.get_by_role("columnheader", name="Cache read")).to_be_visible()

    parent = page.url
    page.get_by_role("textbox", name=re.compile("Follow up")).fill("Still there?\n%say Still here.")
    page.keyboard.press("Control+Enter")
    expect(page).not_to_have_url(parent)
    expect(told(page, "Still here.")).to_be_visible()
    expect(page.locator(".crumbs")).to_contain_text("goes on from")
    page.goto(parent)
    expect(page.locator(".crumbs")).to_contain_text("followed by")


def test_what_a_run_costs_is_shown_while_its_turn_goes_on_and_exactly_when_that_has_ended(
    console: Console, api: Api
) -> None:
    run = Scripted(api, "spender")
    page = console.goto(run.path)
    so_far = {"source": "1/message-a", "model": "claude-haiku-4-5", "output_tokens": 20_000, "estimated": True}
    run.add(drafts={"at": 1, "lines": [so_far]})
    expect(page.locator("#live")).to_contain_text(re.compile(r"cost\s*≈ \$0\.100"))
    expect(page.locator("#live")).to_contain_text(re.compile(r"tokens\s*20\.0k"))
    turn = {"source": "1/turn-1/m", "model": "claude-haiku-4-5", "output_tokens": 22_000, "cost_micros": 111_000}
    run.add(usage=[turn], drafts={"at": 2})
    expect(page.locator("#live")).to_contain_text(re.compile(r"cost\s*\$0\.111"))


def test_what_is_wrong_with_the_form_stands_beside_the_field(console: Console, shared_runner: Runner) -> None:
    page = console.goto("/app/runs/new")
    page.get_by_label("What should the agent do?").fill("Anything")
    page.get_by_label("Directory", exact=True).fill("/etc")
    page.get_by_role("button", name="Launch").click()
    expect(page.locator("#cwd-wrong")).to_contain_text("/etc")
    expect(page.get_by_label("Directory", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("What should the agent do?")).to_have_value("Anything")


def test_an_approval_is_given_a_denial_carries_its_reason_to_the_agent_and_a_question_is_answered_with_an_option(
    console: Console, shared_runner: Runner
) -> None:
    page = launch(
        console,
        shared_runner,
        "Make two files, and ask me.\n%bash touch made-by-approval.txt\n%say It is there.\n%bash touch never-made.txt\n"
        f"%say I was told: {{{{result}}}}\n{ASK_WHICH_COLOUR}\n%say You said: {{{{result}}}}",
    )
    card = page.locator(".ask")
    expect(card).to_contain_text("touch made-by-approval.txt")
    expect(card).to_contain_text(str(shared_runner.work))
    expect(card).to_contain_text(shared_runner.name)
    expect(card).to_contain_text("expires in")
    expect(page.locator("#live .status").first).to_have_text("Waiting for you")
    expect(page.locator("#pending")).not_to_have_text("")
    page.keyboard.press("a")
    expect(told(page, "It is there.")).to_be_visible()

    page.reload()
    expect(card).to_contain_text("touch never-made.txt")
    page.keyboard.press("d")
    page.get_by_label("What should it do instead?").fill("Use the other directory")
    page.keyboard.press("Enter")
    expect(told(page, "I was told")).to_contain_text("Use the other directory")
    assert (shared_runner.work / "made-by-approval.txt").exists()
    assert not (shared_runner.work / "never-made.txt").exists()

    expect(card).to_contain_text("Which colour?")
    page.get_by_role("button", name="Answer a").click()
    expect(page.get_by_role("alert")).to_contain_text("Answer each question")
    page.get_by_label("Red").check()
    page.get_by_role("button", name="Answer a").click()
    expect(told(page, "You said")).to_contain_text("Red")
    expect(card).to_have_count(0)


def test_a_run_is_cancelled_and_deleted_after_a_confirmation(console: Console, shared_runner: Runner) -> None:
    # Claude Code refuses a plain `sleep` of that length.
    command = "python3 -c 'import time; time.sleep(300)'"
    page = launch(console, shared_runner, f"Take your time.\n%say Starting.\n%bash {command}", mode="bypassPermissions")
    expect(page.locator(".log summary", has_text="time.sleep(300)")).to_be_visible()
    page.get_by_role("button", name="Cancel run…").click()
    page.get_by_role("button", name="Keep it running").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Cancel run…").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#live .status").first).to_have_text("Cancelled")
    gone = page.url
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete the run").click()
    page.wait_for_url("**/app/runs")
    expect(page.locator(f'a[href="{gone[gone.index("/app") :]}"]')).to_have_count(0)
    answer = page.goto(gone)
    assert answer is not None
    assert answer.status == 404


def test_a_run_is_paused_continued_and_goes_on_after_its_end(console: Console, shared_runner: Runner) -> None:
    page = launch(
        console, shared_runner, "Take your time.\n%say Starting.\n%bash tail -f /dev/null", mode="bypassPermissions"
    )
    status, end = page.locator("#live .status").first, shared_runner.work / f"end-{uuid.uuid4().hex}"
    expect(page.locator(".log summary", has_text="tail -f")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(status).to_have_text("Paused")
    banner = page.get_by_role("region", name="Why it is paused")
    expect(banner).to_contain_text("Paused by a person")
    expect(page.locator("[data-legend]")).to_contain_text("paused")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    page.get_by_role("textbox", name=re.compile("Go on with a message")).fill("And now?\n%say Onwards.")
    page.keyboard.press("Control+Enter")
    expect(told(page, "Onwards.")).to_be_visible()
    expect(told(page, "completed")).to_be_visible()
    expect(status).to_have_text("Done")
    expect(banner).to_have_count(0)
    page.get_by_role("textbox", name=re.compile("Follow up")).fill(
        f"Once more.\n%say Again.\n%bash until test -e {end}; do sleep 0.1; done"
    )
    here = page.url
    page.get_by_role("button", name="Continue this run").click()
    expect(page.locator("[data-composer] textarea")).to_have_value("")
    expect(told(page, "Again.")).to_be_visible()
    assert page.url == here
    expect(page.locator(".log summary", has_text="until test")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    expect(status).to_have_text("Paused")
    end.touch()  # what was cut off may be done again
    page.keyboard.press("p")
    expect(status).to_have_text("Done")


def test_a_live_run_takes_a_message_and_a_failure_says_what_happened_and_what_to_do(
    console: Console, shared_runner: Runner
) -> None:
    script = "%keep\n%bash sleep 2\n%say Heard: {{user}}\n%bash true\n%error 400 invalid_request_error This cannot work"
    page = launch(console, shared_runner, f"Wait for me.\n{script}", mode="bypassPermissions")
    expect(page.locator(".log summary", has_text="sleep 2")).to_be_visible()
    box = page.get_by_role("textbox", name=re.compile("Message Claude"))
    box.fill("Hurry up, please")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".log .ev.user", has_text="Hurry up, please")).to_be_visible()
    expect(box).to_have_value("")
    expect(page.locator("#live .status").first).to_have_text("Failed")
    failure = page.get_by_role("region", name="Why it ended")
    expect(failure).to_contain_text("reason")
    expect(failure.get_by_role("heading")).not_to_be_empty()
