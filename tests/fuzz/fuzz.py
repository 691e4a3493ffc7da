"""The coverage-guided fuzzer: `python tests/fuzz/fuzz.py [--seconds N] [TARGET ...]`, or `make fuzz`.

Needs atheris (the extra `fuzz`). Every target gets its share of the time in a process of its own; an
input that breaks one is kept, and its path is printed.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
LONGEST_INPUT = 16_384


def main() -> int:
    """Fuzzes every target that is named, or all. 1 when one of them broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all together")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", default=["request", "text", "journal"])
    arguments = parser.parse_args()
    if arguments.inside:
        inside(arguments.targets[0], arguments.seconds)
    share = max(1, arguments.seconds // len(arguments.targets))
    broken = [name for name in arguments.targets if not held(name, share)]
    sys.stdout.write(f"broken: {', '.join(broken)}\n" if broken else "all targets held\n")
    return 1 if broken else 0


def held(name: str, seconds: int) -> bool:
    """Whether a target stood its time, and a little for starting."""
    command = [sys.executable, __file__, "--inside", "--seconds", str(seconds), name]
    return subprocess.run(command, timeout=4 * seconds + 120).returncode == 0


def inside(name: str, seconds: int) -> None:
    """Fuzzes one target; does not return."""
    import atheris

    sys.path.insert(0, str(TESTS))
    with atheris.instrument_imports(include=["dispatch_runner"]):
        from support.fuzz_targets import SEEDS, TARGETS

    found = tempfile.mkdtemp(prefix=f"dispatch-runner-fuzz-{name}-")
    options = [
        f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", f"-artifact_prefix={found}/",
        "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, found, str(SEEDS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
