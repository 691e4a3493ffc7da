"""The cache from the command line: what is used again, what is told of it, and how it is emptied."""

import json
import sys

import pytest

SCRIPT = """
import json, sys
task = json.load(sys.stdin)
with open("runs.txt", "a") as file:
    file.write(task["task_id"])
path = task["input"].get("path")
if path:
    with open(path, "w") as file:
        file.write("made")
print(json.dumps({"n": task["input"].get("n"), "files_written": [path] if path else []}))
"""
WRITES = ("traces", "runs.txt", "made.txt", "../home")


@pytest.fixture
def cached(cli):
    """The program with an agent whose results are kept."""
    script = cli.write("agent.py", SCRIPT)
    cli.settings(f'[agents.slow]\ncommand = ["python3", "-S", "{script}"]\ncache = true\n')

    def run(*flags, **fields):
        task = {"task_id": "a", "agent": "slow", "input_data": {"n": 1}, **fields}
        return cli(*flags, stdin=[task], writes=WRITES)

    run.cli = cli
    run.runs = lambda: len(cli.folder.joinpath("runs.txt").read_text())
    return run


def test_the_same_task_is_run_once_and_a_hit_says_so(cached):
    first, second = cached(), cached()
    assert " hit " not in second.stderr, "nobody asked"
    assert (first.code, second.code, cached.runs()) == (0, 0, 1)
    hit = second.tasks["a"]
    assert hit["output"] == first.tasks["a"]["output"]
    assert (hit["backend"], hit["attempts"], hit["usage"]) == ("command", 0, None)
    assert first.document["correlation_id"] in hit["warnings"][0]
    (event,) = cached.cli.trace_of(second, "a")["events"]
    assert (event["event"], event["data"]["answer"]) == ("cache", "hit")


def test_a_task_has_the_last_word(cached):
    cached(cache=True)
    cached(cache=False)
    assert cached.runs() == 2
    settings = cached.cli.folder.joinpath("operator.toml").read_text()
    cached.cli.settings(settings.replace("true", "false"))
    cached()
    assert cached.runs() == 3
    cached(cache=True)
    assert cached.runs() == 3


@pytest.mark.parametrize(
    ("flag", "variable"), [("--no-cache", "NO_CACHE"), ("--refresh", "REFRESH")]
)
def test_a_flag_and_its_variable_run_what_is_kept(cached, flag, variable):
    cached()
    cached(flag)
    cached.cli.environ[f"DISPATCH_RUNNER_{variable}"] = "1"
    cached()
    assert cached.runs() == 3


def test_what_no_cache_ran_was_not_kept(cached):
    cached("--no-cache")
    assert not cached.cli.home.joinpath(".cache").exists()
    cached()
    assert cached.runs() == 2


def test_explain_tells_why_on_stderr_and_in_events(cached):
    lines = [
        line
        for flags in (["--explain"], ["--explain"])
        for line in cached(*flags).stderr.splitlines()
        if " miss " in line or " stored " in line or " hit " in line
    ]
    words = ["no result of this task is in the cache", " stored ", " parts are as in dispatch "]
    assert [word in line for word, line in zip(words, lines, strict=True)] == [True] * 3
    ran = cached("--explain", "--progress", "json", input_data={"n": 2})
    events = [json.loads(line) for line in ran.stderr.splitlines()]
    told = [event for event in events if event["event"] == "cache_consulted"]
    assert [event["answer"] for event in told] == ["miss", "stored"]
    assert told[0]["reason"].endswith("in input/n")
    for event in told:
        cached.cli.valid(event, "event")


def test_a_file_that_was_made_is_put_back(cached):
    made = cached.cli.folder / "made.txt"
    fields = {"input_data": {"path": str(made)}, "modifies_files": [str(made)]}
    cached(**fields)
    made.unlink()
    assert cached(**fields).tasks["a"]["status"] == "success"
    assert made.read_text() == "made"
    assert cached.runs() == 1


def test_a_script_that_changed_is_run_again(cached):
    cached()
    cached.cli.write("agent.py", SCRIPT + "# changed\n")
    ran = cached("--explain")
    assert cached.runs() == 2
    assert "agent.py" in ran.stderr


def test_what_depends_on_a_cached_result_gets_it(cached):
    task = {"task_id": "a", "agent": "slow", "input_data": {"n": 3}}
    after = {
        "task_id": "b", "agent": "echo", "dependencies": ["a"],
        "input_data": {"got": "${tasks.a.output.n}"},
    }  # fmt: skip
    for _ in range(2):
        ran = cached.cli(stdin=[task, after], writes=WRITES)
        assert ran.tasks["b"]["output"] == {"got": 3}
    assert cached.runs() == 1


def test_a_module_that_the_coder_made_comes_back(cli):
    module = cli.folder / "made.txt.py"
    task = {
        "task_id": "gen", "agent": "coder", "cache": True,
        "input_data": {
            "contract_description": "Compute node Adder: input a: int, b: int. Output total: int, the sum of a and b.",
            "node_type": "Compute", "output_path": str(module), "validation_level": "lenient",
        },
    }  # fmt: skip
    writes = (*WRITES, module.name)
    first = cli(stdin=[task], writes=writes)
    assert first.code == 0, first.stdout
    content = module.read_bytes()
    assert cli(stdin=[task], writes=writes).tasks["gen"]["attempts"] == 0, "it is still there"
    module.unlink()
    again = cli(stdin=[task], writes=writes)
    assert again.tasks["gen"]["output"] == first.tasks["gen"]["output"]
    assert module.read_bytes() == content


@pytest.mark.parametrize("by", ["variable", "file"])
def test_the_folder_may_be_another(cached, by):
    folder = cached.cli.folder.parent / "elsewhere"
    if by == "variable":
        cached.cli.environ["DISPATCH_RUNNER_CACHE_DIR"] = str(folder)
    else:
        text = cached.cli.folder.joinpath("operator.toml").read_text()
        cached.cli.settings(f'{text}[cache]\nfolder = "../elsewhere"\nmax_mb = 5\n')
    task = {"task_id": "a", "agent": "slow", "input_data": {}}
    cached.cli(stdin=[task], writes=(*WRITES, "../elsewhere"))
    info = cached.cli("cache", "info").document
    assert info["folder"].endswith("elsewhere")
    assert info["max_bytes"] == (5 << 20 if by == "file" else 1 << 30)
    assert (info["entries"], len(list(folder.joinpath("entries").iterdir()))) == (1, 1)


def test_a_cache_that_cannot_be_used_is_said_and_costs_nothing(cached):
    cached.cli.environ["DISPATCH_RUNNER_CACHE_DIR"] = str(cached.cli.write("file", "x"))
    ran = cached()
    assert ran.code == 0
    assert any("no cache: cannot use the cache in" in each for each in ran.document["warnings"])
    refused = cached.cli("cache", "info")
    assert (refused.code, refused.codes) == (2, ["usage"])


def test_pruning_and_clearing(cached):
    cli = cached.cli
    cached()
    assert cli("cache", "prune", "--older-than", "1h").document["removed_files"] == 0
    assert cli("cache", "prune", "--max-size", "1").document["removed_files"] == 2
    cached()
    assert cached.runs() == 2
    assert cli("cache", "clear").document["removed_files"] == 2
    assert cli("cache", "info").document["bytes"] == 0


@pytest.mark.parametrize("flags", [[], ["--older-than", "x"], ["--max-size", "-1"]])
def test_pruning_needs_to_know_what(cli, flags):
    refused = cli("cache", "prune", *flags)
    assert (refused.code, refused.codes) == (2, ["usage"])


def test_a_task_that_did_not_opt_in_loads_nothing_of_the_cache(cli):
    code = (
        "import sys; from dispatch_runner.cli.main import run; code = run([]);"
        "print([n for n in sys.modules if n.startswith('dispatch_runner.cache')], file=sys.stderr)"
    )
    process = cli.start("-c", code, program=(sys.executable,), stdin=-1)
    ran = cli.finish(process, json.dumps({"tasks": [cli.echo()]}).encode())
    assert ran.stderr.splitlines()[-1] == "[]"
