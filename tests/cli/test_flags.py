"""Flags, the environment and the request's config: what is printed, and whose wish holds."""

import json
from pathlib import Path

import pytest

BAD = {"x": "${tasks.a.output.nothing}"}


def test_stdout_summary_says_what_did_not_succeed_and_where_the_rest_is(cli):
    tasks = [cli.echo("a", input_data={"big": "x" * 10_000}), cli.echo("b", ["a"], input_data=BAD)]
    ran = cli("--stdout", "summary", stdin=tasks)
    assert ran.code == 1
    assert len(ran.stdout) < 2_000
    document = ran.document
    assert document["status"] == "partial"
    assert document["summary"]["total_tasks"] == 2
    (failed,) = document["unsuccessful"]
    assert (failed["task_id"], failed["status"]) == ("b", "error")
    assert failed["error"]["message"]
    whole = json.loads(Path(document["result_file"]).read_bytes())
    assert len(whole["results"]) == 2
    cli.valid(whole, "result")


def test_stdout_none_prints_nothing_and_keeps_the_result(cli):
    ran = cli("--stdout", "none", stdin=[cli.echo()], text=True)
    assert (ran.code, ran.stdout) == (0, b"")
    (result,) = (cli.folder / "traces").glob("*/result.json")
    assert json.loads(result.read_bytes())["status"] == "success"


def test_stdout_none_still_says_why_a_request_is_rejected(cli):
    ran = cli("--stdout", "none", stdin=b"{}")
    assert (ran.code, ran.document["status"]) == (2, "rejected")


def test_exit_zero_turns_1_into_0_and_nothing_else(cli):
    failing = [cli.echo("a"), cli.echo("b", ["a"], input_data=BAD)]
    assert cli(stdin=failing).code == 1
    ran = cli("--exit-zero", stdin=failing)
    assert (ran.code, ran.document["status"]) == (0, "partial")
    assert cli("--exit-zero", stdin=b"[]").code == 2


def test_lines_are_the_progress_where_there_is_no_terminal(cli):
    ran = cli(stdin=[cli.echo("alpha", description="first")])
    assert "ok" in ran.stderr
    assert "alpha" in ran.stderr
    assert "success: 1 of 1" in ran.stderr
    assert "\x1b" not in ran.stderr


@pytest.mark.parametrize("flags", [["--quiet"], ["-q"], ["--progress", "none"]])
def test_quiet_prints_nothing_on_stderr(cli, flags):
    assert cli(*flags, stdin=[cli.echo()]).stderr == ""


def test_the_board_becomes_lines_without_a_terminal(cli):
    ran = cli("--progress", "board", stdin=[cli.echo("alpha")])
    assert "alpha" in ran.stderr
    assert "\x1b" not in ran.stderr


def test_progress_json_is_one_valid_event_a_line(cli):
    ran = cli("--progress", "json", stdin=[cli.echo("a"), cli.echo("b", ["a"], input_data=BAD)])
    events = [json.loads(line) for line in ran.stderr.splitlines()]
    for event in events:
        cli.valid(event, "event")
    assert events[0]["event"] == "dispatch_started"
    assert events[-1]["event"] == "dispatch_finished"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    finished = {e["task_id"]: e["status"] for e in events if e["event"] == "task_finished"}
    assert finished == {"a": "success", "b": "error"}


def test_events_go_to_a_file_of_their_own_beside_any_progress(cli):
    ran = cli("-q", "--events", "out.ndjson", stdin=[cli.echo()], writes=("traces", "out.ndjson"))
    assert ran.stderr == ""
    file = cli.folder / "out.ndjson"
    assert file.stat().st_mode & 0o777 == 0o600
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert events[-1]["event"] == "dispatch_finished"


@pytest.mark.parametrize("place", ["no/such/folder/e.ndjson", ".", "link"])
def test_events_that_cannot_be_written_start_nothing(cli, place):
    cli.folder.joinpath("link").symlink_to("elsewhere")
    ran = cli("--events", place, stdin=[cli.echo()], writes=())
    assert ran.code == 2
    assert place in ran.errors[0]["message"]
    assert "--events" in ran.errors[0]["hint"]


def config_of(cli, *arguments, config=None, **environ):
    """The configuration in force, and the warnings."""
    cli.environ |= {f"DISPATCH_RUNNER_{key}": value for key, value in environ.items()}
    ran = cli("-q", *arguments, stdin={"tasks": [cli.echo()], "config": config or {}})
    assert ran.code == 0, ran
    return cli.index_of(ran)["config"], ran.document["warnings"]


def test_defaults(cli):
    config, warnings = config_of(cli)
    assert config == {
        "max_workers": 5,
        "timeout_seconds": 300,
        "dispatch_timeout_seconds": None,
        "retries": 2,
        "fail_fast": False,
        "trace_dir": str(cli.folder / "traces"),
        "max_cost_usd": None,
        "max_tokens": None,
        "max_requests": None,
    }
    assert warnings == []


def test_the_request_decides_where_the_operator_says_nothing(cli):
    wish = {
        "max_workers": 9,
        "timeout_seconds": 7.5,
        "dispatch_timeout_seconds": 60,
        "retries": 0,
        "fail_fast": True,
    }
    config, _ = config_of(cli, config=wish)
    assert wish.items() <= config.items()


def test_a_request_lowers_the_operators_limits_and_never_raises_them(cli):
    wish = {"max_workers": 2, "timeout_seconds": 999, "retries": 9}
    flags = ("--max-workers", "4", "--timeout", "10", "--retries", "1")
    config, warnings = config_of(cli, *flags, config=wish)
    assert (config["max_workers"], config["timeout_seconds"], config["retries"]) == (2, 10, 1)
    assert any("timeout_seconds" in each and "--timeout" in each for each in warnings)


def test_a_flag_beats_the_environment_and_that_beats_the_file(cli):
    cli.settings("[defaults]\nmax_workers = 3\nretries = 3\ntimeout_seconds = 3\n")
    environ = {"MAX_WORKERS": "6", "RETRIES": "6"}
    config, _ = config_of(cli, "--max-workers", "9", **environ)
    assert (config["max_workers"], config["retries"], config["timeout_seconds"]) == (9, 6, 3)


def test_the_environment_beats_the_request_where_no_limit_is_meant(cli):
    config, _ = config_of(cli, config={"fail_fast": True}, FAIL_FAST="false")
    assert config["fail_fast"] is False


def test_an_empty_variable_is_not_set(cli):
    assert config_of(cli, MAX_WORKERS="")[0]["max_workers"] == 5


def test_trace_dir_of_request_environment_and_flag(cli):
    request = {"tasks": [cli.echo()], "config": {"trace_dir": "mine"}}
    assert "/mine/" in cli(stdin=request, writes=("mine",)).document["trace_index"]
    cli.environ["DISPATCH_RUNNER_TRACE_DIR"] = "theirs"
    assert "/theirs/" in cli(stdin=request, writes=("theirs",)).document["trace_index"]
    ran = cli("--trace-dir", "flag/deep", stdin=request, writes=("flag",))
    assert "/flag/deep/" in ran.document["trace_index"]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("flags", "culprit"),
    [
        (["--max-workers", "0"], "--max-workers"),
        pytest.param(["--max-workers", "many"], "--max-workers", marks=SLOW),
        pytest.param(["-j", "99999"], "--max-workers", marks=SLOW),
        (["--timeout", "0"], "--timeout"),
        pytest.param(["--timeout", "nan"], "--timeout", marks=SLOW),
        pytest.param(["--dispatch-timeout", "-1"], "--dispatch-timeout", marks=SLOW),
        pytest.param(["--retries", "11"], "--retries", marks=SLOW),
        (["--stdout", "all"], "--stdout"),
        pytest.param(["--progress", "fancy"], "--progress", marks=SLOW),
        pytest.param(["--durability", "none"], "--durability", marks=SLOW),
        (["--backend", "claude"], "--backend"),
        pytest.param(["--trace-dir", ""], "--trace-dir", marks=SLOW),
        (["--config", "no.toml"], "no.toml"),
        (["--bogus"], "--bogus"),
        (["--bogus", "--help"], "--bogus"),
        (["--max-wokers", "3"], "--max-workers"),
        pytest.param(["--timeout"], "--timeout", marks=SLOW),
        (["tasks.json"], "tasks.json"),
        pytest.param(["one.json", "two.json"], "two.json", marks=SLOW),
        (["valdate"], "validate"),
        pytest.param(["-q", "validate"], "comes first", marks=SLOW),
        (["-q", "run", "tasks.json"], "comes first"),
        pytest.param(["traces"], "Missing command", marks=SLOW),
        (["traces", "lst"], "list"),
        pytest.param(["graph", "--format", "svg"], "--format", marks=SLOW),
        (["schema", "requets"], "request"),
        pytest.param(["version", "1"], "1", marks=SLOW),
        (['{"tasks": []}'], "pipe it in"),
        (["x" * 5000], "too long"),
        ([b"\xff.json"], "cannot read"),
        (["--trace-dir", b"\xff"], "--trace-dir"),
    ],
)
def test_wrong_arguments_are_answered_with_one_document(cli, flags, culprit):
    ran = cli(*flags, stdin=[cli.echo()], writes=())
    assert ran.code == 2
    assert ran.document["status"] == "rejected"
    assert culprit in json.dumps(ran.errors)
    assert culprit.split(" ", maxsplit=1)[0] in ran.stderr
    assert len(ran.stdout) < 2_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_WORKERS", "0"),
        ("MAX_WORKERS", "1e3"),
        ("TIMEOUT_SECONDS", "soon"),
        ("FAIL_FAST", "perhaps"),
        ("RETRIES", "99"),
        ("BACKEND", "codx"),
        ("DURABILITY", "x"),
        ("CONFIG", "/no/such.toml"),
    ],
)
def test_wrong_variables_are_named(cli, name, value):
    cli.environ[f"DISPATCH_RUNNER_{name}"] = value
    ran = cli(stdin=[cli.echo()], writes=())
    assert (ran.code, ran.codes) == (2, ["settings"])
    assert value in ran.errors[0]["message"]


def test_all_wrong_flags_and_variables_are_told_at_once(cli):
    cli.environ |= {"DISPATCH_RUNNER_RETRIES": "99", "DISPATCH_RUNNER_FAIL_FAST": "x"}
    ran = cli("--timeout", "0", stdin=[cli.echo()], writes=())
    assert len(ran.errors) == 3


def test_a_misspelt_variable_is_a_warning(cli):
    cli.environ["DISPATCH_RUNNER_MAX_WORKER"] = "3"
    ran = cli(stdin=[cli.echo()])
    assert ran.code == 0
    assert "DISPATCH_RUNNER_MAX_WORKERS" in " ".join(ran.document["warnings"])
