"""A graph goes in, a result comes out, and the records are there: sections 2 to 4 of the design."""

import json
import sys
import uuid
from pathlib import Path

import pytest


def test_a_task_goes_in_and_its_result_comes_out(cli):
    ran = cli(stdin=[cli.echo("a", input_data={"n": 1, "list": [None, 1.5, "x"]})])
    assert ran.code == 0
    assert ran.document["status"] == "success"
    assert ran.tasks["a"]["output"] == {"n": 1, "list": [None, 1.5, "x"]}
    assert ran.tasks["a"]["backend"] == "offline"


def test_the_document_is_byte_for_byte_the_result_file(cli):
    ran = cli(stdin=[cli.echo("a", input_data={"text": "é \U0001f600"}), cli.echo("b")])
    assert Path(ran.document["result_file"]).read_bytes() == ran.stdout


def test_results_come_in_request_order_whatever_ran_first(cli):
    tasks = [cli.echo("last", after=["first"]), cli.echo("first", priority=9), cli.echo("mid")]
    ran = cli(stdin=tasks)
    assert [task["task_id"] for task in ran.document["results"]] == ["last", "first", "mid"]


def test_python_m_is_the_same_program(cli):
    process = cli.start(program=(sys.executable, "-m", "dispatch_runner"), stdin=-1)
    assert (
        cli.finish(
            process, b'{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {}}]}'
        ).code
        == 0
    )


def test_a_reference_keeps_its_type_and_becomes_text_inside_a_longer_string(cli):
    #  a -> b -> c (refers to a, which it depends on only through b)
    source = {"count": 3, "list": [1, {"deep": True}], "name": "N"}
    reads = {
        "number": "${tasks.a.output.count}",
        "object": "${tasks.a.output.list.1}",
        "whole": "${tasks.b.output}",
        "text": "n=${tasks.a.output.count}, name=${tasks.a.output.name}",
        "literal": "$${tasks.a.output.count} and $5",
        "nested": [{"again": "${tasks.a.output.list}"}],
    }
    ran = cli(stdin=[
        cli.echo("a", input_data=source),
        cli.echo("b", after=["a"], input_data={"b": 1}),
        cli.echo("c", after=["b"], input_data=reads),
    ])  # fmt: skip
    assert ran.tasks["c"]["output"] == {
        "number": 3,
        "object": {"deep": True},
        "whole": {"b": 1},
        "text": "n=3, name=N",
        "literal": "${tasks.a.output.count} and $5",
        "nested": [{"again": [1, {"deep": True}]}],
    }
    assert cli.trace_of(ran, "c")["input"]["number"] == 3


def test_a_reference_to_nothing_is_that_tasks_error_and_shows_the_keys(cli):
    ran = cli(stdin=[
        cli.echo("a", input_data={"names": 1, "other": 2}),
        cli.echo("b", after=["a"], input_data={"x": "${tasks.a.output.name}"}),
    ])  # fmt: skip
    assert ran.code == 1
    error = ran.tasks["b"]["error"]
    assert error["type"] == "invalid_input"
    assert "names" in json.dumps(error)
    assert ran.document["status"] == "partial"


def test_run_when_says_which_outcomes_release_a_task(cli):
    #  good --+--> any (one_success)   bad ---> always (all_done)
    #  bad  --+--> all (all_success)   all ---> below, blocked by the root cause 'bad'
    bad = cli.echo("bad", after=["good"], input_data={"x": "${tasks.good.output.nothing}"})
    ran = cli(stdin=[
        cli.echo("good"),
        bad,
        cli.echo("any", after=["good", "bad"], run_when="one_success"),
        cli.echo("always", after=["bad"], run_when="all_done"),
        cli.echo("all", after=["good", "bad"]),
        cli.echo("below", after=["all"]),
    ])  # fmt: skip
    assert ran.statuses == {
        "good": "success",
        "bad": "error",
        "any": "success",
        "always": "success",
        "all": "blocked",
        "below": "blocked",
    }
    assert ran.tasks["below"]["blocked_by"] == ["bad"]
    assert ran.tasks["below"]["error"]["type"] == "dependency"
    assert ran.tasks["below"]["attempts"] == 0
    assert ran.document["summary"]["blocked"] == 2


def test_all_failed_is_a_failure(cli):
    ran = cli(stdin=[cli.task("a", "debug", input_data={
        "problem_description": "x", "affected_files": [str(cli.folder / "gone.py")]})])  # fmt: skip
    assert (ran.code, ran.document["status"]) == (1, "failure")
    assert ran.tasks["a"]["error"]["type"] == "missing_file"


def test_priority_decides_among_ready_tasks(cli):
    tasks = [cli.echo(f"t{n}", priority=n) for n in (1, 3, 2)]
    ran = cli("-j1", "--events", "e.ndjson", stdin=tasks, writes=("traces", "e.ndjson"))
    assert ran.code == 0
    events = [json.loads(line) for line in (cli.folder / "e.ndjson").read_text().splitlines()]
    started = [each["task_id"] for each in events if each["event"] == "task_started"]
    assert started == ["t3", "t2", "t1"]


def test_depends_on_is_accepted_with_a_warning(cli):
    task = cli.echo("b", depends_on=["a"])
    del task["dependencies"]
    ran = cli(stdin=[cli.echo("a"), task])
    assert ran.code == 0
    assert any("depends_on" in warning for warning in ran.document["warnings"])


def test_a_bom_and_schema_are_tolerated(cli):
    text = json.dumps({"$schema": "./request.schema.json", "tasks": [cli.echo()]})
    assert cli(stdin=b"\xef\xbb\xbf" + text.encode()).code == 0


def test_the_callers_correlation_id_and_metadata_are_kept(cli):
    ours = str(uuid.uuid4())
    metadata = {"ticket": "X-1", "nested": {"a": [1, None]}}
    ran = cli(stdin={"tasks": [cli.echo()], "correlation_id": ours, "metadata": metadata})
    assert ran.document["correlation_id"] == ours
    assert cli.index_of(ran)["metadata"] == metadata
    assert cli.index_of(ran)["correlation_id"] == ours


def test_the_index_is_final_and_every_record_obeys_its_schema(cli):
    ran = cli(stdin=[cli.echo("a"), cli.echo("../../etc/passwd", after=["a"]), cli.echo("é b")])
    index = cli.index_of(ran)
    cli.valid(index, "index")
    assert index["status"] == "success"
    assert index["summary"] == ran.document["summary"]
    assert {task["task_id"]: task["status"] for task in index["tasks"]} == ran.statuses
    run_folder = Path(ran.document["result_file"]).parent
    for task in index["tasks"]:
        trace = json.loads(Path(task["trace_file"]).read_bytes())
        cli.valid(trace, "trace")
        assert trace["task_id"] == task["task_id"]
        assert Path(task["trace_file"]).parent == run_folder
    assert json.loads((run_folder / "request.json").read_bytes())["tasks"][0]["task_id"] == "a"


def test_records_are_private(cli):
    ran = cli(stdin=[cli.echo()])
    folder = Path(ran.document["result_file"]).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_two_dispatches_never_share_a_folder(cli):
    first, second = cli(stdin=[cli.echo()]), cli(stdin=[cli.echo()])
    assert first.document["result_file"] != second.document["result_file"]
    assert first.document["correlation_id"] != second.document["correlation_id"]
    assert Path(first.document["result_file"]).read_bytes() == first.stdout


def test_a_secret_of_the_environment_is_in_no_record(cli):
    secret = "s3cr3t-value-of-mine-0123456789"
    cli.environ["MY_API_TOKEN"] = secret
    ran = cli(stdin=[cli.echo(input_data={"text": f"token {secret}"})])
    assert ran.code == 0
    assert secret.encode() not in ran.stdout
    for path in (cli.folder / "traces").rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path


def test_a_request_can_be_a_file_a_dash_or_a_named_pipe(cli):
    text = json.dumps({"tasks": [cli.echo()]})
    cli.write("tasks.json", text)
    assert cli("run", "tasks.json").code == 0
    assert cli("tasks.json").code == 0
    assert cli("-", stdin=text).code == 0
    assert cli("/dev/stdin", stdin=text).code == 0


def test_the_coder_writes_a_module_that_a_dependent_can_use(cli):
    target = cli.folder / "node_adder_compute.py"
    ran = cli(
        stdin=[
            cli.task("gen", "coder", input_data={
                "contract_description": "Adds two integers a and b and returns their total.",
                "node_type": "Compute", "output_path": str(target), "validation_level": "lenient"}),
            cli.echo("use", after=["gen"], input_data={"file": "${tasks.gen.output.generated_file}"}),
        ],
        writes=("traces", target.name),
    )  # fmt: skip
    assert ran.code == 0, ran
    assert target.is_file()
    assert ran.tasks["use"]["output"] == {"file": str(target)}


@pytest.mark.parametrize("count", [1, pytest.param(300, marks=pytest.mark.slow)])
def test_every_task_of_a_wide_graph_is_accounted_for(cli, count):
    tasks = [cli.echo(f"t{n}") for n in range(count)]
    ran = cli("--quiet", stdin=[*tasks, cli.echo("end", after=[t["task_id"] for t in tasks])])
    assert ran.code == 0
    assert ran.document["summary"]["successful"] == count + 1
    assert ran.stderr == ""


def test_the_plain_pipe_imports_neither_typer_nor_rich(cli):
    process = cli.start(
        program=(sys.executable, "-X", "importtime", "-m", "dispatch_runner"), stdin=-1
    )
    ran = cli.finish(process, json.dumps({"tasks": [cli.echo()]}).encode())
    modules = {line.rpartition("|")[2].strip().split(".")[0] for line in ran.stderr.splitlines()}
    assert "dispatch_runner" in modules
    assert not {"typer", "rich", "click"} & modules


def test_agents_call_tools_and_every_call_is_in_the_trace(cli):
    file = cli.folder / "faulty.py"
    file.write_text("def half(n):\n    return n / 0\n")
    trace = f'Traceback (most recent call last):\n  File "{file}", line 2, in half\nZeroDivisionError: division by zero'
    given = {
        "problem_description": "it fails",
        "affected_files": [str(file)],
        "error_traces": [trace],
    }
    ran = cli(stdin=[{"task_id": "d", "agent": "debug", "input_data": given}])
    assert ran.code == 0
    (told,) = ran.tasks["d"]["output"]["quality"]
    assert told["quality"]["status"] == "ok"
    calls = json.loads(Path(ran.tasks["d"]["trace_file"]).read_text())["mcp_calls"]
    assert [(c["tool"], c["is_error"]) for c in calls] == [("assess_code_quality", False)]
    assert calls[0]["duration_ms"] > 0
