"""What the child runner gets of the shell's environment."""

from __future__ import annotations

from pathlib import Path

from corral.cli.environment import for_runner

SHELL = {
    "PATH": "/bin",
    "ANTHROPIC_API_KEY": "sk",
    "CORRAL_DATABASE_URL": "postgres://u:secret@h/d",
    "CORRAL_BOOTSTRAP_KEY": "crl_live_x",
    "CORRAL_API_KEY": "crl_live_somebody_else",
    "CORRAL_LABELS": "gpu",
    "AWS_SECRET_ACCESS_KEY": "s",
    "EXTRA": "e",
}


def made(**more: str) -> dict[str, str]:
    return for_runner(
        {**SHELL, **more}, url="http://u", key_file=Path("/d/key"), data=Path("/d/runner"), cwd=Path("/w")
    )


def test_the_runner_is_not_told_the_servers_secrets() -> None:
    assert not {name for name in made() if name.startswith(("AWS_", "CORRAL_DATABASE", "CORRAL_BOOT"))}
    assert "CORRAL_API_KEY" not in made()


def test_the_runner_gets_its_settings_and_what_agents_need() -> None:
    env = made()
    assert env["PATH"] == "/bin"
    assert env["ANTHROPIC_API_KEY"] == "sk"
    assert env["CORRAL_LABELS"] == "gpu"
    assert env["CORRAL_API_KEY_FILE"] == "/d/key"
    assert env["CORRAL_DATA"] == "/d/runner"


def test_what_pass_env_names_is_passed() -> None:
    assert "EXTRA" not in made()
    assert made(CORRAL_PASS_ENV="EXTRA")["EXTRA"] == "e"


def test_here_is_the_allowed_directory_unless_others_are_named() -> None:
    assert made()["ALLOWED_DIRS"] == "/w"
    assert made(ALLOWED_DIRS="/a:/b")["ALLOWED_DIRS"] == "/a:/b"
