"""The files in deploy/, as far as they can be tried without a container engine: commands run as plain processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import REPOSITORY
from tests.deploy.files import DEPLOY, Image, compose, copy_secrets_script, env_example, environment, unit
from tests.support.model import Model
from tests.support.processes import Process, base_env, free_port
from tests.support.redis import Redis
from tests.support.requirement import missing
from tests.support.runner import claude_env
from tests.support.waiting import PATIENCE, eventually

SECRET = re.compile(r"(crl_live_|sk-|BEGIN [A-Z ]*PRIVATE KEY|postgres(ql)?://[^$\s]*:[^$%@\s]+@)")


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        missing(f"{name} on PATH")
    return str(found)


class Stack:
    """The compose file's services, with their hosts, ports and mounted files mapped to what is here."""

    def __init__(self, folder: Path, database: str, redis: str) -> None:
        self.folder = folder
        subprocess.run(["sh", copy_secrets_script(folder), "localhost"], check=True, capture_output=True, timeout=60)
        self.secrets = folder / "secrets"
        (self.secrets / "database_url").write_text(database)
        self.ports = {name: free_port() for name in ("server-1", "server-2", "8443", "8080")}
        self.url = f"https://localhost:{self.ports['8443']}"
        self.file = compose({**env_example(), "CORRAL_PUBLIC_URL": self.url})
        self.redis = redis
        self.processes: dict[str, Process] = {}

    def service(self, name: str, image: str, **env: str) -> Process:
        told = self.file["services"][name]
        assert told["image"] == {"server": "corral", "runner": "corral-runner"}[image]
        wanted = {**Image(image).env, **told["environment"], **env}
        mapped = {key: self._mapped(str(value)) for key, value in wanted.items() if key != "PATH"}
        made = Process(
            name,
            [sys.executable, "-m", "corral", *told["command"]],
            env={**base_env(self.folder), **mapped},
            log=self.folder / f"{name}.log",
            cwd=self.folder,
        )
        self.processes[name] = made
        return made

    def _mapped(self, value: str) -> str:
        here = {
            "/run/secrets/": f"{self.secrets}/",
            "redis://redis:6379/0": self.redis,
            "http://proxy:8080": f"http://127.0.0.1:{self.ports['8080']}",
            "/var/lib/corral": str(self.folder / "lib"),
            "/work": str(self.folder / "work"),
        }
        for there, mine in here.items():
            value = value.replace(there, mine)
        return value

    def nginx(self) -> Process:
        text = (DEPLOY / "nginx.conf").read_text().replace("/tmp/", f"{self.folder}/")
        for name in ("server-1", "server-2"):
            text = text.replace(f"{name}:3000", f"127.0.0.1:{self.ports[name]}")
        for port in ("8443", "8080"):
            text = text.replace(f"listen {port}", f"listen 127.0.0.1:{self.ports[port]}")
        text = text.replace("/run/secrets/", f"{self.secrets}/")
        (self.folder / "nginx.conf").write_text(text)
        options = "daemon off; user root;" if os.getuid() == 0 else "daemon off;"
        command = [tool("nginx"), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-g", options]
        env = base_env(self.folder)
        self.processes["proxy"] = made = Process(
            "nginx", command, env=env, log=self.folder / "nginx.log", cwd=self.folder
        )
        return made


@pytest.fixture
def stack(folder: Path, postgres_url: str, redis: Redis) -> Iterator[Stack]:
    tool("openssl")
    made = Stack(folder, postgres_url, redis.url)
    (folder / "work").mkdir()
    yield made
    for process in made.processes.values():
        process.stop()


def test_the_services_of_the_compose_file_work_together_as_processes(stack: Stack, model: Model) -> None:
    tool("nginx")
    migrate = stack.service("migrate", "server")
    migrate.start()
    assert migrate.wait(60) == 0, migrate.output()
    for name in ("server-1", "server-2"):
        server = stack.service(name, "server", CORRAL_HOST="127.0.0.1", CORRAL_PORT=str(stack.ports[name]))
        server.start()
    for name in ("server-1", "server-2"):
        url = f"http://127.0.0.1:{stack.ports[name]}/api/health"
        eventually(lambda url=url: httpx.get(url, trust_env=False).status_code == 200, what=url)  # type: ignore[misc] # mypy knows no defaults of lambdas
        assert is_healthy(stack, name), name
    stack.nginx().start()
    key = (stack.secrets / "bootstrap_key").read_text()
    certificate = ssl.create_default_context(cafile=stack.secrets / "tls_certificate")
    with httpx.Client(
        base_url=stack.url, verify=certificate, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
    ) as people:
        eventually(lambda: people.get("/api/health").status_code == 200)
        made = people.post("/api/v1/keys", json={"name": "runner", "scopes": ["runner"]}).raise_for_status()
        (stack.secrets / "runner_key").write_text(made.json()["key"])
        runner = stack.service("runner", "runner", **claude_env(stack.folder, model.url))
        runner.start()
        eventually(lambda: [one["status"] for one in people.get("/api/v1/runners").json()["runners"]] == ["online"])

        gate = stack.folder / "work" / "gate"
        prompt = f"%bash while [ ! -e {gate} ]; do sleep 0.05; done %% %say through the proxy"
        body = {"prompt": prompt, "cwd": str(gate.parent), "permissionMode": "bypassPermissions"}
        run = people.post("/api/v1/runs", json=body).raise_for_status().json()["id"]
        seen = []
        with people.stream("GET", f"/api/runs/{run}/events/stream", timeout=60 * PATIENCE) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:])["event_type"])
                    if seen[-1] == "agent.tool_call":
                        gate.touch()  # it came while nothing else was said: nobody holds it back
        assert seen[-1] == "run.completed"

        stack.processes["server-1"].kill()
        assert [people.get("/api/health").status_code for _ in range(20)] == [200] * 20
        page = people.get(f"/api/v1/runs/{run}").raise_for_status().json()
        assert page["status"] == "COMPLETED"


def is_healthy(stack: Stack, name: str) -> bool:
    (check,) = Image("server").all("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    env = {**base_env(stack.folder), "CORRAL_PORT": str(stack.ports[name])}
    done = subprocess.run([sys.executable, *command[1:]], env=env, capture_output=True, timeout=30, check=False)
    return command[0] == "python" and done.returncode == 0


def test_the_images_run_as_nobody_special_and_hold_no_built_assets_or_secrets() -> None:
    for stage, command in (("server", '["serve"]'), ("runner", '["runner"]')):
        image = Image(stage)
        assert re.fullmatch(r"docker\.io/library/python:\$\{PYTHON\}-slim", image.base)
        assert image.all("USER")[-1] not in {"0", "root"}
        assert (image.all("ENTRYPOINT"), image.all("CMD")) == (['["corral"]'], [command])
    for copied in Image("build").all("COPY"):
        for name in copied.split()[:-1]:
            assert (REPOSITORY / name).exists(), name
    tracked = subprocess.run(
        ["git", "ls-files", "corral/web/static", "deploy"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [name for name in tracked if name.startswith("corral/web/static")]
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    assert {"**", "corral/web/static"} <= set(ignored)
    for name in tracked:
        assert not SECRET.search((REPOSITORY / name).read_text()) or name.endswith("make-secrets.sh"), name


def test_the_compose_file_names_secrets_as_files_and_lets_each_service_see_its_own() -> None:
    file = compose(env_example())
    assert {name: secret["file"] for name, secret in file["secrets"].items()} == {
        name: f"secrets/{name}" for name in file["secrets"]
    }
    for name, service in file["services"].items():
        used = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service.get("environment", {}))))
        if name == "proxy":
            used = set(re.findall(r"/run/secrets/(\w+)", (DEPLOY / "nginx.conf").read_text()))
        assert used == set(service.get("secrets", [])), name
        assert service.get("privileged") is None
    ours: list[dict[str, Any]] = [file["services"][name] for name in ("migrate", "server-1", "server-2", "runner")]
    assert all(one["cap_drop"] == ["ALL"] for one in ours)
    with pytest.raises(AssertionError, match="CORRAL_PUBLIC_URL"):
        compose({})


def test_secrets_are_made_once_and_nobody_else_gets_into_their_directory(folder: Path) -> None:
    tool("openssl")
    script = copy_secrets_script(folder)
    made = [subprocess.run(["sh", script], capture_output=True, text=True, check=True, timeout=60) for _ in range(2)]
    assert "made deploy/secrets/secret_key" in made[0].stdout
    assert made[1].stdout == ""
    secrets = folder / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert set(compose(env_example())["secrets"]) == {path.name for path in secrets.iterdir()}
    password = (secrets / "postgres_password").read_text()
    assert f":{password}@" in (secrets / "database_url").read_text()


def test_the_units_start_what_they_say_and_stop_in_time(folder: Path, migrated_postgres_url: str) -> None:
    settings = unit("corral.service")
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / "database_url").write_text(migrated_postgres_url)
    (credentials / "secret_key").write_text("A" * 43 + "=")
    assert {one.split(":")[0] for one in settings["LoadCredential"]} == {path.name for path in credentials.iterdir()}
    told = {key: value.replace("%d", str(credentials)) for key, value in environment(settings).items()}
    port = free_port()

    def process(line: str) -> Process:
        words = line.replace("/var/lib/corral", str(folder / "state")).split()
        assert words[0] == "/opt/corral/bin/corral"
        return Process(
            words[1],
            [str(Path(sys.executable).with_name("corral")), *words[1:]],
            env={**base_env(folder), **told, "CORRAL_PORT": str(port)},
            log=folder / f"{words[1]}.log",
            cwd=folder,
        )

    before = process(*settings["ExecStartPre"])
    before.start()
    assert before.wait(60) == 0, before.output()
    server = process(*settings["ExecStart"])
    server.start()
    try:
        url = f"http://127.0.0.1:{port}/api/health"
        eventually(lambda: httpx.get(url, trust_env=False).status_code == 200, what=url)
        server.signal(signal.SIGTERM)
        assert server.wait(float(*settings["TimeoutStopSec"])) == 0
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["corral.service", "corral-runner.service"])
def test_systemd_understands_the_units(name: str, folder: Path) -> None:
    text = (DEPLOY / "systemd" / name).read_text()
    (folder / name).write_text(text.replace("/opt/corral/bin/corral", "/bin/true"))
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", str(folder / name)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if name in line]
    assert (done.returncode, ours) == (0, []), done.stderr
    assert "StartLimitIntervalSec=0" in text.splitlines()  # it comes back, however long what it needs is away
    for wall in ("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "CapabilityBoundingSet="):
        assert wall in text.splitlines()
    assert not SECRET.search(text)
