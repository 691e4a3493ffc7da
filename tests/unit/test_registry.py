"""What the name of an agent stands for: roles, programs, and what packages bring."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from dispatch_runner.agents.registry import BACKENDS, ROLES, Registry
from dispatch_runner.backends.command import CommandBackend
from dispatch_runner.errors import SettingsError
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent
from dispatch_runner.settings import BACKENDS as BACKEND_NAMES
from dispatch_runner.settings import Flags, load

PACKAGE = """
from dispatch_runner.testing import AnyInputRole
class GoodRole(AnyInputRole):
    def __init__(self):
        super().__init__("good")
    async def solve(self, call):
        raise NotImplementedError
class SpokenRole(AnyInputRole):
    def __init__(self):
        super().__init__("spoken")
    def question(self, call):
        raise NotImplementedError
class MuteRole(AnyInputRole):
    pass
class NotARole:
    name = "empty"
class Raises:
    def __init__(self):
        raise KeyError("no model")
"""

Build = Callable[..., Registry]


class Scan:
    """Stands for the installed packages, and counts how often they are looked at."""

    def __init__(self, **points: str) -> None:
        self.points = [
            EntryPoint(name, value, "dispatch_runner.agents") for name, value in points.items()
        ]
        self.times = 0

    def __call__(self) -> Sequence[EntryPoint]:
        self.times += 1
        return self.points


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module `some_package` that can be imported, and `exits_package`, which ends the process."""
    (tmp_path / "some_package.py").write_text(PACKAGE)
    (tmp_path / "exits_package.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("some_package", "exits_package"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A registry under a settings file of the given text."""

    def built(
        text: str = "",
        scan: Scan | None = None,
        environ: dict[str, str] | None = None,
        **flags: Any,
    ) -> Registry:
        (tmp_path / "dispatch.toml").write_text(text)
        settings = load(Flags(config=tmp_path / "dispatch.toml", **flags), environ or {}, tmp_path)
        return Registry(settings, scan or Scan())

    return built


def must(agent: Agent | None) -> Agent:
    assert agent is not None
    return agent


@pytest.mark.parametrize("name", sorted(ROLES))
def test_three_agents_exist_without_any_configuration(build: Build, name: str) -> None:
    agent = must(build().get(name))
    assert agent.role.name == name
    assert agent.backend.name == "offline"
    assert agent.origin == "built in"
    assert agent.max_concurrency is None


def test_the_table_of_backends_is_what_settings_accept() -> None:
    assert tuple(BACKENDS) == BACKEND_NAMES


def test_an_agent_is_made_once(build: Build) -> None:
    registry = build()
    assert registry.get("echo") is registry.get("echo")


def test_an_unknown_name_is_null(build: Build) -> None:
    assert build().get("coder2") is None
    assert build().get("auto") is None


def test_packages_are_looked_at_once_and_only_for_an_unknown_name(build: Build) -> None:
    scan = Scan()
    registry = build('[agents.lint]\ncommand = ["x"]\n', scan)
    registry.get("echo")
    registry.get("lint")
    assert scan.times == 0
    registry.get("x")
    registry.get("y")
    registry.names()
    assert scan.times == 1


def test_a_program_is_an_agent_with_its_limits(build: Build, tmp_path: Path) -> None:
    registry = build(
        """
        [agents.lint]
        command = ["ruff", "check"]
        output = "exit"
        stdin = "none"
        env = ["PATH"]
        cwd = "src"
        output_limit = 5000
        grace_seconds = 1
        capabilities = ["lint"]
        timeout_seconds = 60
        max_concurrency = 4
        retries = 0
        resources = { cpu = 2 }
        [limits.cpu]
        capacity = 8
        """
    )
    agent = must(registry.get("lint"))
    assert (agent.max_concurrency, agent.timeout_seconds, agent.retries) == (4, 60, 0)
    assert (agent.resources, agent.capabilities) == ({"cpu": 2}, ("lint",))
    assert agent.origin == "file dispatch.toml:2"
    backend = agent.backend
    assert isinstance(backend, CommandBackend)
    assert backend.command == ("ruff", "check")
    assert (backend.stdin, backend.output, backend.env) == ("none", "exit", ("PATH",))
    assert backend.cwd == tmp_path / "src"
    assert (backend.output_limit, backend.grace_seconds) == (5000, 1)


def test_what_a_definition_leaves_out_is_the_backends_default(build: Build) -> None:
    backend = must(build('[agents.lint]\ncommand = ["x"]\n').get("lint")).backend
    default = CommandBackend(["x"])
    assert isinstance(backend, CommandBackend)
    assert vars(backend) == vars(default)


def test_a_program_may_answer_for_a_role(build: Build) -> None:
    agent = must(build('[agents.coder]\ncommand = ["my-coder"]\n').get("coder"))
    assert agent.role.name == "coder"
    assert hasattr(agent.role, "solve")
    assert agent.backend.name == "command"


def test_limits_of_a_role_do_not_change_who_answers(build: Build) -> None:
    agent = must(build("[agents.coder]\nmax_concurrency = 2\n").get("coder"))
    assert agent.backend.name == "offline"
    assert agent.max_concurrency == 2
    assert agent.origin == "file dispatch.toml:1"


TWO = """
[defaults]
backend = "command"
[agents.coder]
command = ["my-coder"]
[agents.debug]
backend = "offline"
[agents.lint]
command = ["lint"]
"""


def test_the_agents_own_backend_stands_before_the_default_of_the_file(build: Build) -> None:
    registry = build(TWO)
    backends = {name: must(registry.get(name)).backend.name for name in ("coder", "debug", "echo")}
    assert backends == {"coder": "command", "debug": "offline", "echo": "offline"}


@pytest.mark.parametrize("source", ["flag", "environment"])
def test_a_flag_or_variable_stands_before_the_agents_own_backend(build: Build, source: str) -> None:
    if source == "flag":
        registry = build(TWO, backend="offline")
    else:
        registry = build(TWO, environ={"DISPATCH_RUNNER_BACKEND": "offline"})
    names = ("coder", "debug", "echo", "lint")
    backends = {name: must(registry.get(name)).backend.name for name in names}
    assert backends == {
        "coder": "offline",
        "debug": "offline",
        "echo": "offline",
        "lint": "command",
    }


def test_a_chosen_backend_without_its_command_is_an_error_when_the_agent_is_asked_for(
    build: Build,
) -> None:
    registry = build(backend="command")
    assert must(registry.get("echo")).backend.name == "offline"
    with pytest.raises(SettingsError) as caught:
        registry.get("coder")
    assert caught.value.source == "flag --backend"
    assert "[agents.coder]" in (caught.value.hint or "")
    shown = {info.name: info for info in registry.describe()}["coder"]
    assert (shown.role, shown.backend, shown.available) == ("coder", "command", False)


def test_definitions_that_cannot_work_are_all_told_at_the_start(build: Build) -> None:
    text = '[agents.cdoer]\nretries = 1\n[agents.lint]\ncommand = ["x"]\nbackend = "offline"\n'
    with pytest.raises(SettingsError) as caught:
        build(text)
    found = [caught.value, *caught.value.others]
    assert [problem.where for problem in found] == ["dispatch.toml:1", "dispatch.toml:5"]
    assert found[0].hint == "did you mean 'coder'?"
    assert "'lint' is a program" in found[1].message


@pytest.mark.usefixtures("package")
def test_a_package_brings_a_role_and_the_file_its_limits(build: Build) -> None:
    registry = build("[agents.good]\nmax_concurrency = 1\n", Scan(good="some_package:GoodRole"))
    agent = must(registry.get("good"))
    assert (agent.role.name, agent.backend.name, agent.max_concurrency) == ("good", "offline", 1)
    assert must(build("", Scan(good="some_package:GoodRole")).get("good")).origin == (
        "entry point 'good'"
    )


@pytest.mark.usefixtures("package")
def test_a_package_may_bring_a_role_that_can_only_be_put_into_words(build: Build) -> None:
    agent = must(build("", Scan(spoken="some_package:SpokenRole")).get("spoken"))
    assert agent.backend.unavailable(agent.role) is not None


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package:Role", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("some_package:Missing", "AttributeError"),
        ("some_package:Raises", "KeyError: 'no model'"),
        ("exits_package:Role", "SystemExit: 3"),
        ("some_package:NotARole", "lacks check_input"),
        ("some_package:MuteRole", "lacks solve or question"),
    ],
)
def test_a_broken_package_is_told_and_harms_no_other_agent(
    build: Build, value: str, message: str
) -> None:
    registry = build("", Scan(bad=value))
    assert must(registry.get("echo")).name == "echo"
    with pytest.raises(SettingsError) as caught:
        registry.get("bad")
    assert message in caught.value.message
    assert caught.value.source == "entry point 'bad'"
    shown = {info.name: info for info in registry.describe()}["bad"]
    assert not shown.available
    assert message in (shown.reason or "")


@pytest.mark.usefixtures("package")
def test_a_package_cannot_take_the_name_of_a_role_or_of_another_package(build: Build) -> None:
    scan = Scan(coder="some_package:GoodRole", good="some_package:GoodRole")
    scan.points.append(EntryPoint("good", "other_package:Role", "dispatch_runner.agents"))
    registry = build("", scan)
    assert registry.names() == ["coder", "debug", "echo"]
    assert len(registry.warnings) == 3
    assert "'coder' is built in" in registry.warnings[0]
    assert must(registry.get("coder")).origin == "built in"


@pytest.mark.usefixtures("package")
def test_installed_packages_are_found_and_named(build: Build, tmp_path: Path) -> None:
    info = tmp_path / "some_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: some-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dispatch_runner.agents]\ngood = some_package:GoodRole\n"
    )
    registry = Registry(load(Flags(), {}, tmp_path))
    assert "good" in registry.names()
    assert must(registry.get("good")).origin == "entry point 'good' of package 'some-package'"


def test_all_names_are_sorted(build: Build) -> None:
    registry = build('[agents.a]\ncommand = ["x"]\n', Scan(z="p:R"))
    assert registry.names() == ["a", "coder", "debug", "echo", "z"]


def test_the_description_says_what_can_run_here_and_why_not(build: Build) -> None:
    registry = build(
        f'[agents.here]\ncommand = ["{sys.executable}", "-V"]\ncapabilities = ["version"]\n'
        '[agents.gone]\ncommand = ["/no/such/program"]\ntimeout_seconds = 5\n'
    )
    infos = {info.name: info for info in registry.describe()}
    assert infos["here"].available
    assert infos["here"].command == (sys.executable, "-V")
    assert infos["here"].capabilities == ("version",)
    assert infos["here"].role == "program"
    assert not infos["gone"].available
    assert "/no/such/program" in (infos["gone"].reason or "")
    assert infos["gone"].timeout_seconds == 5
    assert infos["echo"].available
    assert infos["echo"].command is None


def test_one_agent_costs_only_its_own_imports() -> None:
    script = (
        "import sys, pathlib; from dispatch_runner.agents.registry import Registry;"
        "from dispatch_runner.settings import Settings;"
        "Registry(Settings(cwd=pathlib.Path('/'))).get('echo');"
        "print([m for m in sys.modules if m == 'importlib.metadata' or 'coder' in m or 'debug' in m"
        " or m.endswith('backends.command')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30
    )
    assert "coder" not in done.stdout
    assert "backends.command" not in done.stdout


def test_the_debug_role_knows_the_operators_test_commands(tmp_path: Path) -> None:
    file = tmp_path / "agents.toml"
    file.write_text('[tests.fast]\ncommand = ["python", "-m", "pytest", "tests"]\n')
    agent = Registry(load(Flags(config=file), {}, tmp_path)).get("debug")
    assert agent is not None
    given = {"problem_description": "x", "affected_files": ["/tmp/a.py"], "analysis_depth": "deep"}
    roots = AllowedRoots(("/tmp",))
    assert agent.role.check_input({**given, "test_command": "fast"}, roots) == []
    (problem,) = agent.role.check_input({**given, "test_command": "fats"}, roots)
    assert problem.location == ("test_command",)
