"""The commands beside `run`: they look, and run nothing."""

import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from dispatch_runner.cli.commands import COMMANDS

DIAMOND = ["a", "b", "c", "d"]


@pytest.fixture
def diamond(cli):
    #     a (2 s)
    #    / \
    #   b   c     b takes 5 s, c takes 1 s
    #    \ /
    #     d (1 s)
    return [
        cli.echo("a", estimated_seconds=2),
        cli.echo("b", ["a"], estimated_seconds=5),
        cli.echo("c", ["a"], estimated_seconds=1),
        cli.echo("d", ["b", "c"], estimated_seconds=1),
    ]


def test_validate_shows_the_plan_and_writes_nothing(cli, diamond):
    ran = cli("validate", stdin=diamond, writes=())
    assert (ran.code, ran.document["status"]) == (0, "valid")
    plan = ran.document["plan"]
    assert plan["layers"] == [["a"], ["b", "c"], ["d"]]
    assert plan["critical_path"] == ["a", "b", "d"]
    assert plan["critical_path_seconds"] == plan["estimated_makespan_seconds"] == 8
    assert plan["total_estimated_seconds"] == 9
    assert plan["widest_point"] == 2
    assert plan["agents"] == {"echo": 4}
    assert plan["missing_tools"] == []


def test_validate_heeds_the_number_of_workers(cli, diamond):
    ran = cli("validate", "--max-workers", "1", stdin=diamond, writes=())
    assert ran.document["plan"]["estimated_makespan_seconds"] == 9
    assert ran.document["config"]["max_workers"] == 1


def test_validate_makes_the_same_checks_as_run(cli):
    bad = [cli.echo("a", ["b"]), cli.echo("b", ["a"]), cli.task("c", "codr")]
    validated, ran = cli("validate", stdin=bad, writes=()), cli(stdin=bad, writes=())
    assert validated.code == ran.code == 2
    assert validated.document == ran.document


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("text", ["a", "d"]),
        ("mermaid", ["flowchart", "-->"]),
        ("dot", ["digraph", "->"]),
        ("json", ["a", "d"]),
    ],
)
def test_graph_draws_in_four_formats(cli, diamond, form, expected):
    ran = cli("graph", "--format", form, stdin=diamond, writes=(), text=True)
    assert ran.code == 0
    assert all(word in ran.text for word in expected), ran.text
    assert form != "json" or json.loads(ran.text)
    assert ran.stdout.endswith(b"\n")
    assert not ran.stdout.endswith(b"\n\n")


def test_graph_of_a_wrong_request_is_a_rejection(cli):
    ran = cli("graph", "--format", "dot", stdin=[cli.echo("a", ["a"])], writes=())
    assert (ran.code, ran.codes) == (2, ["self_dependency"])


def test_schema_names_what_it_prints(cli):
    names = cli("schema", writes=(), text=True).text.split()
    assert {"request", "result", "trace", "index", "event", "envelope"} <= set(names)
    ran = cli("schema", "request", writes=(), text=True)
    schema = json.loads(ran.text)
    assert schema["title"] == "Request"
    assert schema["properties"]["tasks"]["description"]


def test_schema_writes_all_of_them(cli):
    assert cli("schema", "--write", "out", writes=("out",), text=True).code == 0
    written = {file.name: json.loads(file.read_bytes()) for file in (cli.folder / "out").iterdir()}
    names = cli("schema", writes=(), text=True).text.split()
    assert set(written) == {f"{name}.schema.json" for name in names}


def test_schema_into_a_file_is_no_bug_of_ours(cli):
    cli.write("file", "")
    ran = cli("schema", "--write", "file", writes=())
    assert (ran.code, ran.codes) == (3, ["record_error"])
    assert "--write" in ran.errors[0]["hint"]


def test_agents_are_shown_with_backend_and_origin(cli):
    cli.settings(
        '[agents.lint]\ncommand = ["true"]\nmax_concurrency = 2\n'
        '[agents.lost]\ncommand = ["no-such-program-here"]\n'
    )
    ran = cli("agents", writes=(), text=True)
    agents, settings = ran.text.split("\n\n")
    assert settings.startswith("SETTING")
    rows = {line.split()[0]: line for line in agents.splitlines()}
    assert set(rows) == {"AGENT", "coder", "debug", "echo", "lint", "lost"}
    assert "operator.toml:1" in rows["lint"]
    assert "at most 2 at once" in rows["lint"]
    assert "NO" in rows["lost"]
    assert "no-such-program-here" in rows["lost"]
    assert "built in" in rows["coder"]


def test_agents_says_which_settings_are_in_force_and_why(cli):
    cli.settings("[defaults]\nretries = 1\n")
    cli.environ["DISPATCH_RUNNER_MAX_WORKERS"] = "3"
    found = cli("agents", "--json", writes=()).document["settings"]
    assert found["max_workers"] == {"value": 3, "origin": "environment DISPATCH_RUNNER_MAX_WORKERS"}
    assert (found["retries"]["value"], found["retries"]["origin"][-2:]) == (1, ":2")
    assert found["timeout_seconds"] == {"value": 300.0, "origin": "default"}
    assert "environment DISPATCH_RUNNER_MAX_WORKERS" in cli("agents", writes=(), text=True).text


def test_agents_as_json(cli):
    document = cli("agents", "--json", writes=()).document
    found = {agent["name"]: agent for agent in document["agents"]}
    assert found["echo"]["available"] is True
    assert found["coder"]["backend"] == "offline"


def test_agents_say_what_they_are_for_and_which_model_answers(cli, tmp_path):
    agents = tmp_path / "agents"
    agents.mkdir()
    agents.joinpath("r.md").write_text(
        "---\nname: reviewer\ndescription: Reads with care.\nmodel: sonnet\n---\nYou review.\n"
    )
    flags = ("--agents", str(agents))
    found = {
        agent["name"]: agent
        for agent in cli("agents", "--json", *flags, writes=()).document["agents"]
    }
    assert (found["reviewer"]["description"], found["reviewer"]["model"]) == (
        "Reads with care.", "sonnet",
    )  # fmt: skip
    assert (found["echo"]["description"], found["echo"]["model"]) == ("", None)


def test_a_wrong_settings_file_is_told_with_its_line(cli):
    cli.settings('[agents.lint]\ncommand = "ruff check ."\n\n[agents.x]\ncomand = ["true"]\n')
    for command in (["agents"], ["run"], ["validate"]):
        ran = cli(*command, stdin=[cli.echo()], writes=())
        assert (ran.code, set(ran.codes)) == (2, {"settings"})
        assert "operator.toml:2" in ran.errors[0]["message"]
        assert '["ruff", "check", "."]' in ran.errors[0]["hint"]
        assert "did you mean 'command'" in ran.errors[1]["hint"]


def test_traces_list_show_and_prune(cli):
    failing = [cli.echo("a b"), cli.echo("c", ["a b"], input_data={"x": "${tasks.a b.output.y}"})]
    first, second = cli(stdin=[cli.echo()]), cli(stdin=failing)
    names = [Path(each.document["trace_index"]).stem for each in (second, first)]

    listed = cli("traces", "list", text=True).text
    rows = {row.split()[0]: row for row in listed.splitlines()[1:]}
    assert set(rows) == set(names)
    assert "partial" in rows[names[0]]
    assert second.document["correlation_id"] in rows[names[0]]
    as_json = cli("traces", "list", "--json", "-n", "1").document
    assert (as_json["total"], len(as_json["dispatches"])) == (2, 1)

    cli.valid(cli("traces", "show", names[1]).document, "index")
    by_id = cli("traces", "show", second.document["correlation_id"]).document
    assert by_id["correlation_id"] == second.document["correlation_id"]
    assert cli("traces", "show", by_id["correlation_id"][:8], "c").document["status"] == "error"
    assert cli("traces", "show", names[0], "zzz").code == 2
    assert cli("traces", "show", "nothing").code == 2

    kept = cli("traces", "prune", "--older-than", "1h", text=True)
    assert (kept.code, kept.text) == (0, "")
    dry = cli("traces", "prune", "--keep", "0", "--dry-run", text=True)
    assert set(dry.text.split()) == set(names)
    assert Path(first.document["result_file"]).exists()
    assert set(cli("traces", "prune", "--max-size", "0", text=True).text.split()) == set(names)
    assert not any((cli.folder / "traces").iterdir())


def test_traces_of_a_folder_without_any(cli):
    ran = cli("traces", "list", writes=(), text=True)
    assert (ran.code, ran.text) == (0, "")
    assert "no dispatches" in ran.stderr
    assert cli("traces", "show", writes=()).code == 2
    assert cli("traces", "prune", writes=()).errors[0]["hint"].startswith("give --keep")


@pytest.mark.parametrize(
    "flags",
    [["--older-than", "soon"], ["--max-size", "2X"], ["--keep", "-1"], ["--older-than", ""]],
)
def test_prune_refuses_what_it_does_not_understand(cli, flags):
    assert cli("traces", "prune", *flags, writes=()).code == 2


PROJECT = '[agents.mine]\ncommand = ["echo", "hello"]\nstdin = "none"\noutput = "text"\n'


def test_a_project_file_counts_only_once_it_is_trusted(cli):
    cli.write("dispatch.toml", PROJECT)
    task = [cli.task("a", "mine")]

    before = cli(stdin=task, writes=())
    assert before.codes == ["unknown_agent"]
    assert "trust" in " ".join(before.document["warnings"])

    trusted = cli("trust", writes=("../home",), text=True)
    assert trusted.code == 0
    after = cli(stdin=task)
    assert after.code == 0
    assert after.tasks["a"]["output"]["text"] == "hello\n"

    cli.write("dispatch.toml", PROJECT.replace("hello", "changed"))
    changed = cli(stdin=task, writes=())
    assert changed.code == 2
    assert "changed" in " ".join(changed.document["warnings"])
    assert cli("trust", text=True).code == 0
    assert cli(stdin=task).tasks["a"]["output"]["text"] == "changed\n"


def test_a_project_file_of_a_stranger_does_not_stop_a_dispatch(cli):
    cli.write("dispatch.toml", "this is [not toml")
    ran = cli(stdin=[cli.echo()])
    assert ran.code == 0
    assert "trust" in " ".join(ran.document["warnings"])
    assert cli("trust").codes == ["settings"]


def test_trust_says_when_there_is_nothing_to_trust_and_no_place_to_record_it(cli):
    assert "dispatch.toml" in cli("trust", writes=()).errors[0]["message"]
    cli.write("dispatch.toml", PROJECT)
    cli.environ["HOME"] = "/dev/null/home"
    ran = cli("trust", writes=())
    assert (ran.code, ran.codes) == (3, ["record_error"])
    assert "XDG_STATE_HOME" in ran.errors[0]["hint"]


def test_the_users_own_file_is_in_force_where_there_is_no_other(cli):
    cli.write("../home/.config/dispatch-runner/config.toml", "[defaults]\nmax_workers = 2\n")
    assert cli.index_of(cli(stdin=[cli.echo()]))["config"]["max_workers"] == 2


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(cli, arguments):
    ran = cli(*arguments, writes=(), text=True)
    assert ran.text == f"dispatch-runner {version('dispatch-runner')}\n"


def test_help_says_how_to_begin_and_what_exit_codes_mean(cli):
    pages = {cli(flag, writes=(), text=True).text for flag in ("--help", "-h", "help")}
    (page,) = pages
    assert all(name in page for name in COMMANDS)
    assert "130, 143" in page
    assert "| dispatch-runner" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [[name] for name in sorted(COMMANDS)] + [["traces", n] for n in ("list", "show", "prune")],
)
def test_every_command_has_help(cli, command):
    ran = cli(*command, "--help", writes=(), text=True)
    assert ran.code == 0
    assert ran.text.startswith(f"Usage: dispatch-runner {' '.join(command)}")
    assert max(map(len, ran.text.splitlines())) <= 100


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli, shell):
    ran = cli("--show-completion", shell, writes=(), text=True)
    assert ran.code == 0
    assert "_DISPATCH_RUNNER_COMPLETE" in ran.text
    assert shell in ran.text
    installed = cli("--install-completion", shell, writes=("../home",), text=True)
    assert str(cli.home) in installed.text


def test_completion_for_an_unknown_shell_says_which_there_are(cli):
    assert "bash|zsh|fish" in cli("--show-completion", "tcsh", writes=()).errors[0]["hint"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [("dispatch-runner val", "validate"), ("dispatch-runner run --std", "--stdout"),
     ("dispatch-runner graph --format me", "mermaid")],
)  # fmt: skip
@pytest.mark.slow
def test_bash_completes_commands_flags_and_values(cli, words, expected):
    cli.environ |= {
        "_DISPATCH_RUNNER_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    assert expected in cli(writes=(), text=True).text.split()


@pytest.mark.slow
def test_the_completion_script_works_in_bash(cli):
    script = cli.write(
        "completion.sh", cli("--show-completion", "bash", writes=(), text=True).stdout
    )
    probe = f"""
        source {script}
        COMP_WORDS=(dispatch-runner va); COMP_CWORD=1
        _dispatch_runner_completion {Path(os.sys.executable).with_name("dispatch-runner")}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", probe], env=cli.environ, capture_output=True, text=True)
    assert done.stdout.split() == ["validate"], done
