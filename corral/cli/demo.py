"""`corral demo`: everything is real but the model, which is the scripted one of this project."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator, Mapping

from corral.cli.errors import CommandError
from corral.cli.up import up
from corral.platform.settings import Settings

_START_SECONDS = 15.0
_KEY = "the-scripted-model-needs-none"

NOTES = (
    "This is the demo: the model is scripted. No AI answers; Claude Code, its tools and the files it writes are real.",
    "No account, no key, no cost. What the script can do: docs/demo.md",
)


async def demo(settings: Settings, env: Mapping[str, str]) -> None:
    """Serve with a runner whose Claude Code talks to the scripted model, and nothing of the person's own set-up."""
    async with _model() as model_url:
        own = {name: value for name, value in env.items() if not name.startswith(("ANTHROPIC_", "CLAUDE_"))}
        scripted = {
            **own,
            "ANTHROPIC_BASE_URL": model_url,
            "ANTHROPIC_API_KEY": _KEY,
            "CLAUDE_CONFIG_DIR": str(settings.data / "claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "RUNNER_NAME": env.get("RUNNER_NAME") or "demo",
        }
        # Agents without a machine, which the server executes itself, talk to it as well.
        urls = {"anthropic": model_url, "openai": f"{model_url}/v1", "openrouter": f"{model_url}/api/v1"}
        settings = dataclasses.replace(settings, provider_urls=urls, provider_keys=dict.fromkeys(urls, _KEY))
        await up(settings, command="corral demo", runner_env=scripted, notes=NOTES)


@contextlib.asynccontextmanager
async def _model() -> AsyncIterator[str]:
    """Run the model server as a child that ends when its stdin does: with us, however we end."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", "corral.demo", "--port", "0", "--watch-stdin"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # ^C in this terminal reaches the server alone
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = (await process.stdout.readline()).decode()
        if "listening on " not in line:
            raise CommandError("The scripted model server did not start", hint="Try it alone: python -m corral.demo")
        yield line.partition("listening on ")[2].strip()
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
