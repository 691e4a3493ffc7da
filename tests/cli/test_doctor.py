"""`doctor` says what can run here, and why not what cannot."""

import json
from pathlib import Path

import pytest

SCRIPT = "#!/bin/sh\n{body}\n"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, body: str) -> None:
    folder.joinpath(name).write_text(SCRIPT.format(body=body))
    folder.joinpath(name).chmod(0o755)


def examined(cli, programs: Path, *flags: str, **environ: str):
    ran = cli(
        "doctor", "--json", *flags, env={"PATH": f"{programs}:/usr/bin:/bin", **environ}, writes=()
    )
    return ran, {each["name"]: each for each in ran.document["backends"]}


def test_the_offline_backend_runs_everywhere_and_nothing_else_is_asked_for(cli, programs):
    ran, backends = examined(cli, programs)
    assert (ran.code, ran.document["healthy"]) == (0, True)
    assert backends["offline"]["available"]
    assert "npm install -g @openai/codex" in backends["codex"]["reason"]
    assert "PROVIDER:NAME" in backends["llm"]["reason"]


def test_a_program_that_is_there_tells_its_version_and_which_keys_it_sees(cli, programs):
    program(programs, "codex", 'test "$1" = --version && echo codex-cli 9.8.7')
    _, backends = examined(cli, programs, CODEX_API_KEY="not-to-be-shown")
    assert backends["codex"]["available"]
    assert backends["codex"]["version"] == "codex-cli 9.8.7"
    assert backends["codex"]["program"] == str(programs / "codex")
    assert backends["codex"]["keys"] == ["CODEX_API_KEY"]
    assert "not-to-be-shown" not in json.dumps(backends)


def test_a_program_that_does_not_even_tell_its_version_cannot_run(cli, programs):
    program(programs, "gemini", "exit 3")
    _, backends = examined(cli, programs)
    assert backends["gemini"]["reason"] == "'gemini --version' ended with exit code 3"


def test_an_agent_that_was_chosen_and_cannot_run_is_a_failure(cli, programs):
    ran, _ = examined(cli, programs, "--backend", "codex")
    assert (ran.code, ran.document["healthy"]) == (1, False)
    assert {agent["name"] for agent in ran.document["unavailable_agents"]} == {"coder", "debug"}


def test_a_backend_is_judged_by_the_agent_that_has_chosen_it(cli, programs, tmp_path):
    program(programs, "my-codex", "echo codex-cli 1.2.3")
    settings = tmp_path / "dispatch.toml"
    settings.write_text(f'[agents.debug]\nbackend = "codex"\ncommand = ["{programs}/my-codex"]\n')
    _, backends = examined(cli, programs, "--config", str(settings))
    assert (backends["codex"]["agent"], backends["codex"]["version"]) == (
        "debug",
        "codex-cli 1.2.3",
    )
    assert "[agents.NAME]" in backends["llm"]["reason"]
    assert backends["llm"]["agent"] is None


def test_people_get_tables(cli, programs):
    ran = cli("doctor", env={"PATH": f"{programs}:/usr/bin:/bin"}, writes=(), text=True)
    assert ran.text.startswith("BACKEND")
    assert "install it with 'npm install -g opencode-ai'" in ran.text
