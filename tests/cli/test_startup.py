"""A short run pays only for what it uses."""

import json
import subprocess
import sys

SCRIPT = """
import atexit, sys
from dispatch_runner.cli.main import run
code = run(["run", "--quiet", "request.json"])
print(*sorted(m for m in sys.modules if m.startswith("dispatch_runner.")), file=sys.stderr)
sys.exit(code)
"""

NOT_NEEDED = (
    "cache",
    "workspaces",
    "process",
    "mcp",
    "locks",
    "backends.command",
    "backends.shared",
    "engine.admission",
    "engine.gates",
    "engine.budgets",
    "records.detection",
    "records.restore",
    "settings.schema",
    "settings.backend_options",
)


def test_an_echo_loads_nothing_of_what_it_does_not_use(cli):
    cli.folder.joinpath("request.json").write_text(json.dumps({"tasks": [cli.echo("a")]}))
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=cli.folder, env=cli.environ, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    loaded = ran.stderr.decode().split()
    wrongly = [
        module
        for module in loaded
        for name in NOT_NEEDED
        if f"{module}.".startswith(f"dispatch_runner.{name}.")
    ]
    assert wrongly == []
