"""Hundreds of processes that are killed while they record tasks: what they had acknowledged is there."""

import json
import subprocess
import sys
import zlib

import pytest

from dispatch_runner.records import journal

WRITER = """
import json, os, random, signal, sys
from pathlib import Path
from dispatch_runner.events import TaskFinished, TaskStarted
from dispatch_runner.models import TaskResult, TaskStatus
from dispatch_runner.records.recorder import Recorder
from dispatch_runner.records.redaction import Redactor

def write(folder, size, told):
    recorder = Recorder.open(Path(folder), correlation_id="c", request={"tasks": []}, config={},
                             metadata={}, durability="process", redactor=Redactor({}))
    number = 0
    while True:
        name = f"t{number}"
        recorder(TaskStarted(name, "echo"))
        value = TaskResult(name, "echo", "offline", TaskStatus.SUCCESS, {"x": "y" * size})
        recorder(TaskFinished(value, "", {}, (), (), ()))
        os.write(told, b"%d\\n" % number)
        number += 1

folder, size, rounds, seed = sys.argv[1], *map(int, sys.argv[2:])
chance = random.Random(seed)
for round_ in range(rounds):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        write(f"{folder}/{round_}", size, writer)
    os.close(writer)
    with open(reader, "rb") as acknowledged:
        for _ in range(chance.randint(1, 60)):
            acknowledged.readline()
        for _ in range(chance.randrange(20_000)):  # some microseconds more, by chance
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        # what was still in the pipe had been acknowledged, too
        rest = acknowledged.read().split()
    print(json.dumps([round_, int(rest[-1]) if rest else -1]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("size", "rounds"), [(100, 120), (20_000, 80), (200_000, 25)])
def test_nothing_that_was_acknowledged_is_lost(tmp_path, chance, request, size, rounds):
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(size), str(rounds)]
    done = subprocess.run(
        [*command, str(chance.randrange(1 << 30))], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        round_, last = json.loads(line)
        check(tmp_path / str(round_), last)
    request.node.user_properties.append(("faults", (rounds, rounds)))


def check(traces, last):
    """Every task up to the last that was told of is on record, with the whole trace."""
    (folder,) = traces.glob("dispatch-*/")
    loaded = journal.load(folder / journal.JOURNAL_NAME)
    recorded = {r["task"]: r for r in loaded.records if r["event"] == "finished"}
    assert {f"t{number}" for number in range(last + 1)} <= set(recorded)
    for record in recorded.values():
        trace = (folder / record["trace"]).read_bytes()
        assert f"{zlib.crc32(trace):08x}" == record["trace_crc"]
