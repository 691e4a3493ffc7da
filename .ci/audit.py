"""Known vulnerabilities of the pinned dependencies: `make audit`.

Asks the OSV database through pip-audit, in bounded time. Exit 1 when something was found; 0 when nothing
was, and also, said clearly, when the database or pip-audit cannot be had: without a network nothing can
be judged, and that is no fault of a change.
"""

import json
import subprocess
import sys
from pathlib import Path

PINNED = Path(__file__).with_name("constraints.txt")
TOOL = "pip-audit>=2.9"
INSTALL_SECONDS = 90
AUDIT_SECONDS = 120


def main(arguments: list[str]) -> int:
    """Audits the file that is named, or the constraints."""
    file = arguments[0] if arguments else str(PINNED)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries=0",
        "--timeout=10",
        f"--constraint={PINNED}",
        TOOL,
    ]
    audit = [
        sys.executable, "-m", "pip_audit", "--requirement", file, "--no-deps", "--disable-pip",
        "--vulnerability-service=osv", "--format=json", "--progress-spinner=off", "--timeout=10",
    ]  # fmt: skip
    try:
        subprocess.run(pip, check=True, timeout=INSTALL_SECONDS, capture_output=True)
        done = subprocess.run(
            audit, check=False, timeout=AUDIT_SECONDS, capture_output=True, text=True
        )
        report = json.loads(done.stdout)
    except subprocess.SubprocessError as error:
        return skipped(str(error))
    except ValueError:
        return skipped((done.stderr.strip().splitlines() or ["no answer"])[-1])
    return told(report["dependencies"])


def told(dependencies: list[dict[str, object]]) -> int:
    """Prints what is known against each, and gives the exit code."""
    found = 0
    for each in dependencies:
        for vulnerability in each.get("vulns", ()):  # type: ignore[attr-defined]
            found += 1
            fixed = ", ".join(vulnerability["fix_versions"]) or "none yet"
            say(f"{each['name']} {each['version']}: {vulnerability['id']}; fixed in: {fixed}")
    say(f"audit: {len(dependencies)} dependencies, {found} known vulnerabilities")
    return 1 if found else 0


def skipped(why: str) -> int:
    """Nothing could be judged."""
    say(f"audit: SKIPPED, nothing was judged: {why[-300:]}")
    return 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
