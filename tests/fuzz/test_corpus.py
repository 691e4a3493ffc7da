"""The corpus of the fuzzer, replayed: seeds, and every input that once broke something."""

import pytest

from support.fuzz_targets import SEEDS, TARGETS

CORPUS = sorted(path.relative_to(SEEDS).as_posix() for path in SEEDS.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", CORPUS)
def test_an_input_that_is_remembered_breaks_nothing(name: str) -> None:
    TARGETS[name.split("/")[0]]((SEEDS / name).read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_an_input_cut_or_changed_anywhere_breaks_nothing(target: str) -> None:
    for name in CORPUS:
        if name.startswith(f"{target}/"):
            data = (SEEDS / name).read_bytes()[:4_000]
            step = max(1, len(data) // 24)
            for at in range(0, len(data), step):
                TARGETS[target](data[:at])
                TARGETS[target](data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])


def test_every_target_has_seeds() -> None:
    assert {name.split("/")[0] for name in CORPUS} == set(TARGETS)
