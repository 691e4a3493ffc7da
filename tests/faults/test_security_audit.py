"""The audit fails for what it found, and for nothing else."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

CI = Path(__file__).parents[2] / ".ci"


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", CI / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_known_vulnerability_fails_and_is_named(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    vulnerable = {
        "name": "made-up", "version": "1.0", "vulns": [{"id": "OSV-1", "fix_versions": ["1.1"]}],
    }  # fmt: skip
    assert audit.told([{"name": "fine", "version": "2.0", "vulns": []}, vulnerable]) == 1
    assert "made-up 1.0: OSV-1; fixed in: 1.1" in capsys.readouterr().out


def test_nothing_found_passes(audit: ModuleType) -> None:
    assert audit.told([{"name": "fine", "version": "2.0", "vulns": []}]) == 0


def test_what_cannot_be_judged_passes_and_is_said(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.skipped("no network") == 0
    assert "SKIPPED, nothing was judged: no network" in capsys.readouterr().out


def test_the_pinned_versions_are_exact_and_name_no_host() -> None:
    lines = (CI / "constraints.txt").read_text().splitlines()
    assert lines
    assert not [line for line in lines if line.count("==") != 1 or "/" in line or "@" in line]
