"""Programs as agents, from dispatch.toml to the result."""

import json
import os
from pathlib import Path

import pytest

SLOW = pytest.mark.slow


@pytest.fixture
def programs(cli):
    """Defines agents: `programs(name={"script": ..., key: value})`, each a Python script here."""

    def define(extra="", **agents):
        text = [extra]
        for name, definition in agents.items():
            script = cli.write(f"{name}.py", definition.pop("script"))
            keys = {"command": ["python3", "-S", "-E", str(script)], **definition}
            text.append(f"[agents.{name}]")
            text += [f"{key} = {toml(value)}" for key, value in keys.items()]
        cli.settings("\n".join(text) + "\n")
        return cli

    return define


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


READ = "import json, os, sys, time\nenvelope = json.load(sys.stdin)\n"


def test_a_program_reads_the_envelope_and_answers_with_json(programs):
    cli = programs(
        agent={"script": READ + "print(json.dumps({'seen': envelope, 'env': sorted(os.environ)}))"}
    )
    cli.environ |= {"SECRET_TOKEN": "x", "LC_ALL": "C.UTF-8"}
    ran = cli(stdin=[
        cli.echo("up", input_data={"n": 7}),
        cli.task("a", "agent", dependencies=["up"], description="words",
                 input_data={"n": "${tasks.up.output.n}"}),
    ])  # fmt: skip
    assert ran.code == 0, ran
    seen = ran.tasks["a"]["output"]["seen"]
    cli.valid(seen, "envelope")
    assert seen["input"] == {"n": 7}
    assert seen["dependencies"] == {"up": {"n": 7}}
    assert seen["description"] == "words"
    assert seen["correlation_id"] == ran.document["correlation_id"]
    names = set(ran.tasks["a"]["output"]["env"])
    assert {"PATH", "HOME", "DISPATCH_RUNNER_TASK_ID", "TRACEPARENT"} <= names
    assert not {"SECRET_TOKEN", "CLI_TEST_MARKER"} & names
    assert ran.tasks["a"]["backend"] == "command"


def test_text_and_exit_code_are_answers_too(programs):
    cli = programs(
        says={"script": "print('three words here')", "output": "text", "stdin": "none"},
        does={"script": "", "output": "exit", "stdin": "none"},
    )
    ran = cli(stdin=[cli.task("a", "says"), cli.task("b", "does")])
    assert ran.code == 0
    assert ran.tasks["a"]["output"]["text"] == "three words here\n"
    assert ran.tasks["b"]["output"] == {"exit_code": 0}


@pytest.mark.parametrize(
    ("script", "cause", "evidence"),
    [
        ("import sys; sys.exit('something is broken')", "crashed", "something is broken"),
        ("import os; os.kill(os.getpid(), 9)", "crashed", "SIGKILL"),
        pytest.param("print('not json')", "bad_output", "not json", marks=SLOW),
        pytest.param("print('[1]')", "bad_output", "not an object", marks=SLOW),
        pytest.param("print('{\"a\": 1')", "bad_output", "not JSON", marks=SLOW),
        pytest.param(
            "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\x00')",
            "bad_output",
            "not JSON",
            marks=SLOW,
        ),
        pytest.param("", "bad_output", "nothing was printed", marks=SLOW),
        pytest.param("print('{}')", "unverified", "empty", marks=SLOW),
        pytest.param(
            'print(\'{"error": {"type": "auth", "message": "no key"}}\')',
            "auth",
            "no key",
            marks=SLOW,
        ),
        pytest.param(
            'print(\'{"generated_file": "/no/such"}\')', "unverified", "/no/such", marks=SLOW
        ),
    ],
)
def test_what_a_program_does_wrong_is_told(programs, script, cause, evidence):
    cli = programs(agent={"script": script, "retries": 0})
    ran = cli(stdin=[cli.task("a", "agent")])
    assert ran.code == 1
    error = ran.tasks["a"]["error"]
    assert error["type"] == cause
    assert evidence in json.dumps(error)


def test_a_program_that_is_not_there_is_told_before_anything_starts(cli):
    cli.settings('[agents.x]\ncommand = ["no-such-program"]\n')
    ran = cli(stdin=[cli.echo("fine"), cli.task("a", "x")], writes=())
    assert (ran.code, ran.codes) == (2, ["agent_unavailable"])
    assert "no-such-program" in ran.errors[0]["message"]


ONCE = """import os, sys
mark = os.path.join(os.environ["HOME"], "was-here")
if not os.path.exists(mark):
    open(mark, "w").close()
    sys.exit(75)
print('{"done": true}')
"""


@pytest.mark.slow
def test_exit_75_is_tried_again(programs):
    cli = programs(agent={"script": ONCE})
    ran = cli(stdin=[cli.task("a", "agent", retries=1)], writes=("traces", "../home"))
    assert ran.code == 0
    assert ran.tasks["a"]["attempts"] == 2
    first, second = cli.trace_of(ran, "a")["attempts"]
    assert (first["error"]["type"], second["error"]) == ("unavailable", None)


def test_exit_75_without_retries_is_an_error_that_may_be_tried_again(programs):
    cli = programs(agent={"script": ONCE})
    ran = cli(stdin=[cli.task("a", "agent", retries=0)], writes=("traces", "../home"))
    assert ran.code == 1
    assert ran.tasks["a"]["error"]["retryable"] is True
    assert ran.tasks["a"]["attempts"] == 1


FOREST = """import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
for n in range(2):
    subprocess.Popen(["sleep", "1000"], start_new_session=bool(n))
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
print("ready", file=sys.stderr, flush=True)
time.sleep(1000)
"""


def test_a_timeout_ends_the_whole_tree(programs):
    cli = programs(agent={"script": FOREST, "stdin": "none", "grace_seconds": 0.1})
    ran = cli(stdin=[cli.task("a", "agent", timeout_seconds=0.4, retries=0)])
    assert ran.code == 1
    assert ran.statuses == {"a": "timeout"}
    assert ran.document["summary"]["timed_out"] == 1
    (attempt,) = cli.trace_of(ran, "a")["attempts"]
    assert Path(attempt["stderr_file"]).read_text() == "ready\n"


@pytest.mark.slow
def test_a_daemon_that_is_left_behind_is_ended_with_a_warning(programs):
    script = "import subprocess; subprocess.Popen(['sleep', '1000']); print('{\"ok\": true}')"
    cli = programs(agent={"script": script, "grace_seconds": 0.1})
    ran = cli(stdin=[cli.task("a", "agent")])
    assert ran.code == 0
    assert "left 1 processes behind" in " ".join(ran.tasks["a"]["warnings"])


COUNT = """import os, sys, time
folder = os.environ["HOME"]
mine = os.path.join(folder, "in-" + os.environ["DISPATCH_RUNNER_TASK_ID"])
open(mine, "w").close()
time.sleep(0.05)
inside = [name for name in os.listdir(folder) if name.startswith("in-")]
os.remove(mine)
print('{"inside": %d}' % len(inside))
"""


def most_inside(cli, ran):
    assert ran.code == 0, ran
    return max(task["output"]["inside"] for task in ran.document["results"])


def test_an_agents_own_limit_holds(programs):
    cli = programs(agent={"script": COUNT, "max_concurrency": 1})
    ran = cli("-j4", stdin=[cli.task(f"t{n}", "agent") for n in range(3)])
    assert most_inside(cli, ran) == 1


def test_a_file_lock_is_one_lock_however_it_is_spelt(programs):
    cli = programs(agent={"script": COUNT})
    cli.folder.joinpath("src").mkdir()
    cli.folder.joinpath("link").symlink_to("src")
    spelt = [f"{cli.folder}/src/x.py", f"{cli.folder}/link/../src/./x.py", f"{cli.folder}/src/*.py"]
    tasks = [cli.task(f"t{n}", "agent", modifies_files=[path]) for n, path in enumerate(spelt)]
    assert most_inside(cli, cli("-j4", stdin=tasks)) == 1


@pytest.mark.slow
def test_units_of_a_limit_are_shared(programs):
    cli = programs("[limits.gpu]\ncapacity = 2\n", agent={"script": COUNT, "resources": {"gpu": 1}})
    tasks = [cli.task(f"t{n}", "agent") for n in range(3)]
    tasks.append(cli.task("big", "agent", resources={"gpu": 2}, priority=-1))
    ran = cli("-j4", stdin=tasks)
    assert most_inside(cli, ran) <= 2
    assert ran.tasks["big"]["output"]["inside"] == 1


def test_more_units_than_there_are_is_a_rejection(programs):
    cli = programs("[limits.gpu]\ncapacity = 2\n", agent={"script": COUNT})
    wrong = [
        cli.task("a", "agent", resources={"gpu": 3}),
        cli.task("b", "agent", resources={"gpo": 1}),
    ]
    ran = cli(stdin=wrong, writes=())
    assert ran.code == 2
    assert "gpu" in json.dumps(ran.errors[0])
    assert "did you mean 'gpu'" in ran.errors[1]["hint"]


def test_without_limits_programs_run_side_by_side(programs):
    barrier = """import os, time
folder, number = os.environ["HOME"], os.environ["DISPATCH_RUNNER_TASK_ID"]
open(os.path.join(folder, number), "w").close()
while len(os.listdir(folder)) < 3:
    time.sleep(0.005)
"""
    cli = programs(agent={"script": barrier, "output": "exit"})
    ran = cli(
        "-j3", stdin=[cli.task(str(n), "agent") for n in range(3)], writes=("traces", "../home")
    )
    assert ran.code == 0
    assert ran.document["summary"]["peak_concurrency"] == 3


def test_fail_fast_stops_what_runs_and_what_waits(programs):
    #  bad (exit 1 once 'slow' runs)   slow (for ever)   never (after slow)
    fails = "import os, time\nwhile not os.path.exists(os.environ['HOME'] + '/on'):\n    time.sleep(0.01)\nraise SystemExit(1)"
    slow = "import os, time\nopen(os.environ['HOME'] + '/on', 'w').close()\ntime.sleep(1000)"
    cli = programs(bad={"script": fails, "retries": 0}, slow={"script": slow, "grace_seconds": 0.1})
    ran = cli(
        "--fail-fast",
        stdin=[cli.task("bad", "bad"), cli.task("slow", "slow"), cli.task("never", "slow", dependencies=["slow"])],
        writes=("traces", "../home"),
    )  # fmt: skip
    assert ran.code == 1
    assert ran.document["interrupted"] == "fail_fast"
    assert ran.statuses == {"bad": "error", "slow": "cancelled", "never": "cancelled"}


def test_the_dispatch_timeout_reports_what_finished_and_what_did_not(programs):
    cli = programs(slow={"script": "import time; time.sleep(1000)", "grace_seconds": 0.1})
    tasks = [cli.echo("quick"), cli.task("slow", "slow"), cli.echo("after", ["slow"])]
    ran = cli("--dispatch-timeout", "0.5", stdin=tasks)
    assert ran.code == 1
    assert ran.document["interrupted"] == "timeout"
    assert ran.statuses == {"quick": "success", "slow": "cancelled", "after": "cancelled"}
    assert cli.index_of(ran)["interrupted"] == "timeout"
    assert "dispatch timeout" in ran.tasks["slow"]["error"]["message"]


def test_what_a_program_prints_goes_to_files_and_is_capped(programs):
    flood = "import sys\nfor _ in range(3000): sys.stderr.write('x' * 999 + '\\n')\nprint('{\"ok\": 1}')"
    cli = programs(agent={"script": flood, "output_limit": 100_000})
    ran = cli(stdin=[cli.task("a", "agent")])
    assert ran.code == 0
    (attempt,) = cli.trace_of(ran, "a")["attempts"]
    assert Path(attempt["stderr_file"]).stat().st_size < 200_000
    assert "3000000 bytes" in " ".join(ran.tasks["a"]["warnings"])


def test_a_hostile_task_id_reaches_a_program_unharmed(programs):
    cli = programs(agent={"script": READ + "print(json.dumps({'id': envelope['task_id']}))"})
    task_id = '$(touch pwned); `x` ../../é "quoted" -rf'
    ran = cli(stdin=[cli.task(task_id, "agent")])
    assert ran.tasks[task_id]["output"] == {"id": task_id}
    assert not os.path.lexists(cli.folder / "pwned")
