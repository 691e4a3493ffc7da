"""Programs that do everything a program should not, side by side in one dispatch."""

import json
import resource

import pytest

from support.faults import Fault, Plan, assert_sound

MEBIBYTE = 1 << 20
DEAF = "trap '' HUP INT TERM QUIT PIPE; "
NUISANCES = {
    # what it does, what it is expected to be
    "ignores every signal": (DEAF + "while :; do sleep 1; done", "timeout"),
    "stops itself": ("kill -STOP $$", "timeout"),
    "has grandchildren that stay": ("sh -c 'sleep 1000 & sleep 1000' & sleep 1000", "timeout"),
    "leaves a daemon": ("(setsid sleep 1000 &); printf done", "success"),
    "leaves a deaf daemon": (f'(setsid sh -c "{DEAF} sleep 1000" &); printf done', "success"),
    "leaves one that holds its outputs": ("sleep 1000 & printf done", "success"),
    "closes its outputs early": ("printf done; exec >&- 2>&-; sleep 0.05", "success"),
    "reads to the end of its input and on": ("cat >/dev/null; cat; printf done", "success"),
    "asks a terminal": ("read x < /dev/tty", "error"),
    "exits with 1": ("exit 1", "error"),
    "exits with 255": ("exit 255", "error"),
    "kills itself": ("kill -KILL $$", "error"),
    "has a segmentation fault": ("ulimit -c 0; kill -SEGV $$", "error"),
    "aborts": ("ulimit -c 0; kill -ABRT $$", "error"),
    "says nothing": ("exit 0", "error"),
    "is not text": (r"printf '\377\376\000\001'", "success"),
    "writes to both outputs at once": ("cat /etc/passwd >&2; printf done", "success"),
    "removes its folder": ("mkdir gone; cd gone; rmdir ../gone; printf done", "success"),
    "kills its group": (
        "sleep 1000 & trap '' TERM; kill -TERM 0; printf done; kill -KILL 0",
        "error",
    ),
}
BROKEN = {
    "writes half a line of JSON": ("printf '{\"a\": '", "bad_output"),
    "writes two documents": ("printf '{}{}'", "bad_output"),
    "writes a number": ("printf 1", "bad_output"),
    "writes NaN": ("printf '{\"a\": NaN}'", "bad_output"),
    "nests without end": ("head -c 100000 /dev/zero | tr '\\0' '['", "bad_output"),
}


def define(bench, name, command, output="text", **more):
    lines = [f"[agents.{json.dumps(name)}]", f"command = {json.dumps(command)}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in {"output": output, **more}.items()]
    bench.define("\n".join(lines) + "\n")


def test_none_of_them_troubles_the_others(bench):
    expected = {}
    for number, (name, (script, status)) in enumerate(NUISANCES.items()):
        define(bench, f"n{number}", ["/bin/sh", "-c", script], timeout_seconds=1)
        expected[name] = status
    tasks = [bench.cli.task(name, f"n{n}") for n, name in enumerate(NUISANCES)]
    faulty = bench.run([*tasks, bench.cli.echo("quiet")], None, "-q", "-j", "40")
    assert_sound(bench, faulty, resumes=False)
    assert faulty.ran.statuses == expected | {"quiet": "success"}
    bench.injected = bench.survived = len(tasks)


def test_what_is_not_an_answer_is_not_taken_for_one(bench):
    for number, (script, _) in enumerate(BROKEN.values()):
        define(bench, f"b{number}", ["/bin/sh", "-c", script], output="json")
    tasks = [bench.cli.task(name, f"b{n}") for n, name in enumerate(BROKEN)]
    faulty = bench.run(tasks, None, "-q")
    assert_sound(bench, faulty, resumes=False)
    causes = {name: task["error"]["type"] for name, task in faulty.ran.tasks.items()}
    assert causes == {name: cause for name, (_, cause) in BROKEN.items()}
    bench.injected = bench.survived = len(tasks)


def test_programs_that_cannot_start_are_told(bench):
    """The last moment counts: they were there when the request was checked."""
    cli, folder = bench.cli, bench.cli.folder
    places = {
        "garbage": (b"\x00\x01\x02 no program", "unavailable"),
        "no interpreter": (b"#!/no/such/interpreter\n", "unavailable"),
        "goes away": (b"#!/bin/sh\n", "unavailable"),
        "is no longer executable": (b"#!/bin/sh\n", "unavailable"),
        "becomes a folder": (b"#!/bin/sh\n", "unavailable"),
    }
    for number, (name, (content, _)) in enumerate(places.items()):
        path = cli.write(name, content, mode=0o755)
        define(bench, f"p{number}", [str(path)])
    define(bench, "large", ["/bin/sh", "-c", "printf done", "x" * 140_000])
    spoil = (
        'rm "goes away"; chmod -x "is no longer executable";'
        ' rm "becomes a folder"; mkdir "becomes a folder"; printf done'
    )
    define(bench, "spoil", ["/bin/sh", "-c", f"cd '{folder}'; {spoil}"])
    tasks = [cli.task("spoil", "spoil"), cli.task("large", "large", dependencies=["spoil"])]
    tasks += [cli.task(name, f"p{n}", dependencies=["spoil"]) for n, name in enumerate(places)]
    faulty = bench.run(tasks, None, "-q")
    assert_sound(bench, faulty, resumes=False)
    causes = {n: each["error"] and each["error"]["type"] for n, each in faulty.ran.tasks.items()}
    assert causes == {
        "spoil": None,
        "large": "invalid_input",
        **{name: cause for name, (_, cause) in places.items()},
    }
    bench.injected = bench.survived = len(places) + 1


def test_a_machine_that_is_short_of_processes_is_waited_for(bench, tmp_path):
    for error in ("EAGAIN", "ENOMEM"):
        bench.clear()
        plan = Plan(tmp_path / error, (Fault("error", error, 1, ("spawn",), times=3),))
        faulty = bench.run(bench.usual(), plan)
        assert plan.struck()
        assert faulty.ran.code == 0, faulty.ran
        assert_sound(bench, faulty)


@pytest.mark.slow
def test_with_few_descriptors_many_programs_wait_and_do_not_fail(bench):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    tasks = [bench.cli.task(f"t{n}", "program") for n in range(60)]
    process = bench.start(tasks, None, "-q", "-j", "60", preexec_fn=few)
    faulty = bench.end(process, tasks)
    assert faulty.ran.code == 0, faulty.ran
    assert "ulimit -n" in " ".join(faulty.ran.document["warnings"])
    assert_sound(bench, faulty)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_floods_are_cut_and_take_no_memory(bench):
    """A gigabyte in one line, and one without an end."""
    most = {"output_limit": MEBIBYTE}
    define(bench, "gigabyte", ["head", "-c", "1G", "/dev/zero"], timeout_seconds=60, **most)
    define(bench, "endless", ["yes"], timeout_seconds=2, **most)
    script = "head -c 1G /dev/zero >&2; exit 1"
    define(bench, "errors", ["sh", "-c", script], timeout_seconds=60, **most)
    tasks = [bench.cli.task(name, name) for name in ("gigabyte", "endless", "errors")]
    faulty = bench.run(tasks, None, "-q")
    assert faulty.ran.statuses["endless"] == "timeout"
    assert faulty.ran.statuses["errors"] == "error"
    assert sum(file.stat().st_blocks * 512 for file in bench.traces.rglob("*")) < 40 * MEBIBYTE
    assert_sound(bench, faulty, resumes=False)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 500 << 10
