"""Real `corral runner` processes, with a home, a Claude configuration and a scripted model of their own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.http import Api
from tests.support.processes import Process, base_env
from tests.support.waiting import eventually


class Runner:
    """A runner on a data directory of its own. It can be killed and started again on the same one."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str,
        key: str,
        model_url: str,
        name: str = "test-runner",
        allowed: str | None = None,
        arguments: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.name = name
        self.home = folder / "home"
        self.work = folder / "work"  #: an allowed directory, for runs
        self.data = folder / "data"
        for made in (self.home, self.work):
            made.mkdir(parents=True, exist_ok=True)
        self.process = Process(
            f"corral runner {name}",
            [sys.executable, "-m", "corral", "runner", *arguments],
            env={
                **base_env(self.home),
                **claude_env(self.home, model_url),
                "CORRAL_URL": url,
                "CORRAL_API_KEY": key,
                "ALLOWED_DIRS": allowed or str(self.work),
                "RUNNER_NAME": name,
                "CORRAL_DATA": str(self.data),
                **(env or {}),
            },
            log=folder / f"{name}.log",
            cwd=folder,
        )

    def start(self) -> Runner:
        self.process.start()
        return self

    def wait_online(self, api: Api, within: float = 30.0) -> dict[str, Any]:
        """Return the runner as the server shows it, once it is online."""

        def online() -> dict[str, Any] | None:
            if not self.process.is_running():
                raise RuntimeError(
                    f"{self.process.name} ended with {self.process.exit_code}:\n{self.process.output()[-3000:]}"
                )
            shown: list[dict[str, Any]] = api.get("/api/v1/runners").raise_for_status().json()["runners"]
            return next((one for one in shown if one["name"] == self.name and one["status"] == "online"), None)

        found = eventually(online, within=within, what=f"runner {self.name} is online")
        assert found is not None
        return found

    def kill(self) -> None:
        """kill -9 of the daemon alone, as a crash would."""
        self.process.kill()

    def stop(self) -> None:
        self.process.stop()


#: Of Claude Code's JavaScript engine: a process that lives for a second never earns what its threads spend on
#: optimizing it and on collecting garbage meanwhile, which is a sixth of what it costs.
SHORT_LIVED = {"BUN_JSC_useDFGJIT": "0", "BUN_JSC_useConcurrentGC": "0", "BUN_JSC_numberOfGCMarkers": "1"}


def claude_env(home: Path, model_url: str) -> dict[str, str]:
    """What keeps a real Claude Code away from the internet and from this user's own sign-in."""
    return {
        **SHORT_LIVED,
        "CORRAL_PASS_ENV": ",".join(SHORT_LIVED),
        "CLAUDE_CONFIG_DIR": str(home / "claude"),
        "ANTHROPIC_BASE_URL": model_url,
        "ANTHROPIC_API_KEY": "sk-ant-dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "IS_SANDBOX": "1",
    }
