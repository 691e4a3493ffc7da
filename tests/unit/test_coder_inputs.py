"""What is told about a wrong input of an agent."""

from pathlib import Path

import pytest

from dispatch_runner.agents.coder.models import CoderInput
from dispatch_runner.agents.coder.role import CoderRole
from dispatch_runner.agents.inputs import check_model, check_paths, text_paths
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import InputProblem

ROLE = CoderRole()


@pytest.fixture
def roots(tmp_path: Path) -> AllowedRoots:
    return AllowedRoots((str(tmp_path.resolve()),))


def good(tmp_path: Path, **changes: object) -> dict[str, object]:
    value = {
        "contract_description": "Compute node that takes text and returns word_count",
        "node_type": "Compute",
        "output_path": str(tmp_path / "node_word_count_compute.py"),
    }
    return {**value, **changes}


def codes(problems: list[InputProblem]) -> dict[tuple[str | int, ...], str]:
    return {problem.location: problem.code for problem in problems}


def test_a_good_input_has_no_problem(tmp_path, roots):
    assert ROLE.check_input(good(tmp_path), roots) == []


def test_every_problem_is_told_at_once_with_its_place(tmp_path, roots):
    value = good(
        tmp_path,
        node_type="effect",
        output_path="out.py",
        context_files=[1, "/etc/passwd"],
        overwrit=True,
    )
    del value["contract_description"]

    assert codes(ROLE.check_input(value, roots)) == {
        ("contract_description",): "missing_field",
        ("node_type",): "invalid_value",
        ("output_path",): "path_not_absolute",
        ("context_files", 0): "invalid_type",
        ("context_files", 1): "path_outside_roots",
        ("overwrit",): "unknown_field",
    }


def test_an_unknown_field_gets_the_name_that_was_meant(tmp_path, roots):
    [problem] = ROLE.check_input(good(tmp_path, validation_levl="strict"), roots)

    assert problem.hint == "did you mean 'validation_level'?"


def test_an_unknown_field_like_no_other_gets_the_list(tmp_path, roots):
    [problem] = ROLE.check_input(good(tmp_path, zzz=1), roots)

    assert problem.hint is not None
    assert "contract_description" in problem.hint


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("contract_description", "", "out_of_range"),
        ("contract_description", " \n ", "invalid_value"),
        ("contract_description", 3, "invalid_type"),
        ("contract_description", None, "invalid_type"),
        ("output_path", "", "out_of_range"),
        ("validation_level", "high", "invalid_value"),
        ("overwrite", "yes", "invalid_type"),
        ("context_files", "/tmp/x", "invalid_type"),
        ("node_name", "", "out_of_range"),
    ],
)
def test_a_wrong_value_has_a_code_that_says_in_what_way(tmp_path, roots, field, value, code):
    problems = ROLE.check_input(good(tmp_path, **{field: value}), roots)

    assert code in [problem.code for problem in problems if problem.location == (field,)]


def test_a_message_names_the_field_and_a_short_form_of_the_value():
    [problem] = check_model(CoderInput, {**good(Path("/x")), "node_type": "y" * 10_000})

    assert problem.message.startswith("field 'node_type': ")
    assert len(problem.message) < 250


def test_the_output_has_to_be_a_python_file(tmp_path, roots):
    [problem] = ROLE.check_input(good(tmp_path, output_path=str(tmp_path / "node.txt")), roots)

    assert (problem.code, problem.hint) == ("invalid_value", "end it in '.py'")


def test_a_link_that_leads_out_of_the_allowed_folders_is_a_problem(tmp_path, roots):
    (tmp_path / "out").symlink_to("/etc")

    [problem] = ROLE.check_input(good(tmp_path, output_path=str(tmp_path / "out" / "x.py")), roots)

    assert problem.code == "path_outside_roots"


def test_paths_are_found_in_a_field_or_a_list_and_what_is_no_text_is_left_to_the_model(roots):
    value = {"one": "relative", "many": ["also", 3], "none": {"a": 1}}
    pairs = [
        pair for field in ("one", "many", "none", "absent") for pair in text_paths(value, field)
    ]

    assert codes(check_paths(pairs, roots)) == {
        ("one",): "path_not_absolute",
        ("many", 0): "path_not_absolute",
    }


def test_the_task_writes_its_output_path_and_nothing_else(tmp_path):
    value = good(tmp_path)

    assert list(ROLE.writes(value)) == [value["output_path"]]
    assert list(ROLE.writes({"output_path": 3})) == []


@pytest.mark.parametrize("spelling", ["effect", "EFFECT", "Eff-ect"])
def test_a_wrong_choice_gets_the_one_that_was_meant(tmp_path, roots, spelling):
    [problem] = ROLE.check_input(good(tmp_path, node_type=spelling), roots)

    assert problem.hint == "did you mean 'Effect'?"
