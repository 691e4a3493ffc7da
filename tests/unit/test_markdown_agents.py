"""Agents from Markdown files: what is read, what is refused and why, and what they are asked."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.agents.agent_files import MOST_BYTES, read_folder, role_of
from dispatch_runner.agents.front_matter import AgentFile, Wrong, read
from dispatch_runner.agents.markdown import MarkdownRole
from dispatch_runner.agents.registry import Registry
from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.errors import AgentError, RequestRejected, SettingsError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, AgentCall, Answer, PromptedRole
from dispatch_runner.settings import Flags, load

pytestmark = pytest.mark.anyio

REVIEWER = """---
name: reviewer
description: "Reads code: says what is wrong"
tools: Read, Grep, Bash(git log:*, git diff)
model: sonnet
---

You review code.

--- not front matter ---
"""


def agent_text(body: str = "You help.", **head: str) -> str:
    keys = {"name": "helper", "description": "helps", **head}
    lines = [f"{key}: {value}" for key, value in keys.items() if value]
    return "\n".join(["---", *lines, "---", body])


def wrong_with(text: str) -> Wrong:
    with pytest.raises(Wrong) as caught:
        read(text)
    return caught.value


def test_a_file_of_claude_code_is_read_as_it_is() -> None:
    assert read(REVIEWER) == AgentFile(
        "reviewer",
        "Reads code: says what is wrong",
        "You review code.\n\n--- not front matter ---",
        ("Read", "Grep", "Bash(git log:*, git diff)"),
        "sonnet",
    )


@pytest.mark.parametrize("change", [str.strip, lambda text: "\ufeff" + text.replace("\n", "\r\n")])
def test_ends_of_lines_and_a_byte_order_mark_change_nothing(change: Callable[[str], str]) -> None:
    read_again = read(change(REVIEWER))
    assert read_again[:2] == read(REVIEWER)[:2]
    assert read_again.tools == read(REVIEWER).tools


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        ("Read,Write , Edit", ("Read", "Write", "Edit")),
        ("[Read, mcp__db__query]", ("Read", "mcp__db__query")),
        ("\n  - Read\n  - Bash(git *)", ("Read", "Bash(git *)")),
        ("[]", ()),
        ("", None),
        ('"*"', None),
    ],
)
def test_tools_are_a_list_or_a_text_with_commas(tools: str, expected: Any) -> None:
    assert read(agent_text(tools=tools)).tools == expected


def test_every_value_is_text_whatever_yaml_makes_of_it() -> None:
    text = agent_text(name="no", description="2024-01-01", model="!!python/name:os.system 1.0")
    assert read(text)[:2] == ("no", "2024-01-01")
    assert read(text).model == "1.0"


@given(head=st.text(alphabet="namedscriptool: []{}&*!|>?-#'\"\n\0~<é", max_size=60), text=st.text())
def test_any_text_is_an_agent_or_is_told_what_is_wrong(head: str, text: str) -> None:
    for tried in (text, f"---\nname: a\n{head}\n---\n{text}", f"---\n{head}\n---\nYou help."):
        with contextlib.suppress(Wrong):
            assert read(tried).name


def test_excluded_tools_are_taken_away() -> None:
    agent = read(agent_text(tools="[Read, Bash(git *), Write]", disallowedTools="Bash, Write"))
    assert agent.tools == ("Read",)
    assert agent.notes == ()


def test_keys_that_are_not_used_are_told() -> None:
    text = agent_text(permissionMode="plan", colour="red", color="red", disallowedTools="Bash")
    assert read(text).notes == (
        "'permissionMode' is not used here",
        "'colour' is not a known key",
        "'disallowedTools' is not used without 'tools': name those that are allowed",
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("You help.", 1, "there is no front matter"),
        ("", 1, "there is no front matter"),
        ("---\nname: a\ndescription: b\nYou help.", 1, "the front matter is not closed"),
        ("---\n---\nYou help.", 1, "the front matter holds no keys"),
        ("---\n- name\n---\nYou help.", 1, "the front matter holds no keys"),
        (agent_text(description="a: b"), 3, "the front matter is not YAML: mapping values"),
        (agent_text(description='"a'), 3, "the front matter is not YAML: "),
        (agent_text(tools="[" * 5_000), 4, "the front matter is not YAML: "),
        (agent_text(name=""), 1, "'name' is missing"),
        (agent_text(description=""), 1, "'description' is missing"),
        (agent_text(description="[a]"), 3, "'description' is not a text"),
        (agent_text(name="[12]"), 2, "'name' is not a text"),
        (agent_text(name='""'), 2, "'name' is missing"),
        (agent_text(name="plugin:helper"), 2, "the name 'plugin:helper' holds a colon"),
        (agent_text(name='"-v"'), 2, "the name '-v' begins with a hyphen"),
        (agent_text(name='"a\\nb"'), 2, "the name 'a\\nb' is not a short printable text"),
        (agent_text(tools="{Read: true}"), 4, "'tools' is no list of names"),
        (agent_text(model="[a]"), 4, "'model' is not a text"),
        (agent_text(body="  \n"), 5, "there is no text below the front matter"),
        (agent_text(body="a\n\0"), 6, "it holds a NUL character"),
    ],
    ids=range(20),
)  # fmt: skip
def test_a_broken_file_is_told_with_its_line_and_what_to_do(
    text: str, line: int, message: str
) -> None:
    wrong = wrong_with(text)
    assert wrong.message.startswith(message)
    assert wrong.hint
    if not message.endswith("YAML: "):
        assert wrong.line == line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "agents"
    made.mkdir()
    return made


def reasons(folder: Path) -> dict[str, str]:
    """What is wrong, by the name that the agent should have had."""
    return {each.name: each.error.message for each in read_folder(folder).problems}


def test_a_folder_is_read_whole_and_a_readme_is_no_agent(folder: Path) -> None:
    (folder / "review").mkdir()
    (folder / "review/a.md").write_text(agent_text(name="deep"))
    (folder / "b.md").write_text(agent_text(name="flat"))
    (folder / "README.md").write_text("# Agents")
    (folder / "notes.txt").write_text("none")
    found = read_folder(folder)
    assert [agent.name for agent in found.agents.values()] == ["flat", "deep"]
    assert found.problems == []


def test_a_broken_file_hides_no_other_and_keeps_its_name(folder: Path) -> None:
    (folder / "a.md").write_text(agent_text(name="alpha", description=""))
    (folder / "b.md").write_text(agent_text(name="beta"))
    (folder / "c.md").write_text("nothing")
    assert reasons(folder) == {"alpha": "'description' is missing", "c": "there is no front matter"}
    (problem, _) = read_folder(folder).problems
    assert str(problem.error).startswith(f"{folder}/a.md:1: 'description' is missing (add ")
    assert len(read_folder(folder).agents) == 1


def test_of_two_files_with_one_name_the_second_is_told(folder: Path) -> None:
    for name in "ab":
        (folder / f"{name}.md").write_text(agent_text())
    found = read_folder(folder)
    assert list(found.agents) == [folder / "a.md"]
    assert reasons(folder) == {"helper": f"agent 'helper' is defined by {folder}/a.md, too"}


def test_what_is_no_readable_text_is_told(folder: Path, tmp_path: Path) -> None:
    (folder / "large.md").write_text(agent_text(body="x" * MOST_BYTES))
    (folder / "latin.md").write_bytes(agent_text(body="ok\n").encode() + b"\xe9")
    os.mkfifo(folder / "pipe.md")
    (tmp_path / "secret.md").write_text(agent_text())
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    (folder / "gone.md").symlink_to(folder / "nowhere.md")
    told = reasons(folder)
    assert told["large"] == "it has more than 100,000 bytes"
    assert told["latin"] == "it is not UTF-8"
    assert told["pipe"] == "there is no front matter"
    assert told["link"] == "it is a symbolic link out of the folder"
    assert told["gone"] == "it cannot be read: No such file or directory"
    assert read_folder(folder).agents == {}
    (latin,) = (each.error for each in read_folder(folder).problems if each.name == "latin")
    assert latin.line == 6


def call_with(value: JsonObject, folder: Path) -> AgentCall:
    return AgentCall(
        "t", "helper", "", value, {"before": {"text": "what came out"}}, "id", 1, 60.0, folder,
        AllowedRoots((str(folder.resolve()),)), None, anyio.Event(),
    )  # fmt: skip


HELPER = MarkdownRole("helper", "helps", "You help.")


def test_it_is_a_role_that_can_be_asked_in_words() -> None:
    assert isinstance(HELPER, PromptedRole)
    assert not hasattr(HELPER, "solve")


def test_wrong_input_is_named_all_at_once(tmp_path: Path) -> None:
    value = {"prompt": "", "files": ["a", "/etc/passwd"], "context": [], "prompts": "x"}
    problems = HELPER.check_input(value, AllowedRoots((str(tmp_path),)))
    assert {(problem.location, problem.code) for problem in problems} == {
        (("prompt",), "out_of_range"),
        (("context",), "invalid_type"),
        (("prompts",), "unknown_field"),
        (("files", 0), "path_not_absolute"),
        (("files", 1), "path_outside_roots"),
    }


def test_it_is_asked_with_its_system_prompt_files_context_and_results(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1")
    value = {"prompt": "Do {{it}}.", "files": [str(file)], "context": {"limit": 3}}
    question = HELPER.question(call_with(value, tmp_path))
    assert question.system.startswith("You help.\n\n")
    assert "<given-task>\nDo {{it}}.\n</given-task>" in question.prompt
    assert f'<given-file path="{file}">\nx = 1\n</given-file>' in question.prompt
    assert '"limit": 3' in question.prompt
    assert '<given-result task="before">\nwhat came out\n</given-result>' in question.prompt
    assert question.schema is None


def test_a_placeholder_in_an_agents_own_text_stays_as_it_is(tmp_path: Path) -> None:
    role = MarkdownRole("helper", "helps", "Write {{task}} and ${HOME} and {{nothing}}.")
    question = role.question(call_with({"prompt": "go"}, tmp_path))
    assert question.system.startswith("Write {{task}} and ${HOME} and {{nothing}}.")


@pytest.mark.parametrize(
    ("tools", "access"),
    [
        (None, "read"),
        ((), "read"),
        (("Read", "Grep", "mcp__db__query"), "read"),
        (("Read", "Write"), "edit"),
        (("NotebookEdit",), "edit"),
        (("Edit", "Bash(git *)"), "execute"),
    ],
)
def test_its_access_is_what_its_tools_need(
    tools: tuple[str, ...] | None, access: str, tmp_path: Path
) -> None:
    role = MarkdownRole("helper", "helps", "You help.", tools, "opus")
    question = role.question(call_with({"prompt": "go"}, tmp_path))
    assert (question.access, question.tools, question.model) == (access, tools, "opus")
    promised = "FILES_WRITTEN" in question.prompt
    assert promised == (tools is None or access != "read")


def test_inherit_is_no_model() -> None:
    assert role_of(read(agent_text(model="inherit"))).model is None
    assert role_of(read(agent_text(model="claude-opus-4-1"))).model == "claude-opus-4-1"


async def verified(output: JsonObject, folder: Path) -> JsonObject:
    call = call_with({"prompt": "go"}, folder)
    return (await HELPER.verify(call, Answer(output, ["w"], "s"))).output


async def test_an_answer_is_text_and_the_files_that_it_lists(tmp_path: Path) -> None:
    assert await verified({"text": " Done. "}, tmp_path) == {"text": "Done.", "files_written": []}
    text = 'Done.\n\n`FILES_WRITTEN: ["/a [1].py", "b.py",\n "b.py"]`'
    assert await verified({"text": text}, tmp_path) == {
        "text": "Done.", "files_written": ["/a [1].py", str(tmp_path / "b.py")],
    }  # fmt: skip
    told = {"text": "x", "files_written": ["c.py"], "more": 1}
    assert await verified(told, tmp_path) == {**told, "files_written": [str(tmp_path / "c.py")]}


@pytest.mark.parametrize(
    ("text", "kind"),
    [(" \n", ErrorType.UNVERIFIED), ("ok\nFILES_WRITTEN: [a.py]", ErrorType.BAD_OUTPUT)],
)
async def test_an_empty_answer_and_a_list_that_is_none_are_refused(
    text: str, kind: ErrorType, tmp_path: Path
) -> None:
    with pytest.raises(AgentError) as caught:
        await verified({"text": text}, tmp_path)
    assert caught.value.type is kind


Build = Callable[..., Registry]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A registry with the folder `agents`, under a settings file of the given text."""

    def built(text: str = "", *folders: str, **flags: Any) -> Registry:
        (tmp_path / "dispatch.toml").write_text(text)
        named = tuple(folders or ("agents",))
        settings = load(
            Flags(config=tmp_path / "dispatch.toml", agent_folder=named, **flags), {}, tmp_path
        )
        return Registry(settings, list)

    return built


def must(agent: Agent | None) -> Agent:
    assert agent is not None
    return agent


def test_nothing_is_picked_up_that_the_operator_did_not_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    folder.rename(tmp_path / ".claude/agents")
    (tmp_path / ".claude/agents/a.md").write_text(agent_text())
    assert Registry(load(Flags(), {}, tmp_path), list).get("helper") is None


def test_a_file_is_an_agent_that_needs_a_backend(folder: Path, build: Build) -> None:
    (folder / "a.md").write_text(agent_text(skills="x"))
    registry = build()
    agent = must(registry.get("helper"))
    assert agent.origin == "agents/a.md"
    assert registry.names() == ["coder", "debug", "echo", "helper"]
    (info,) = (info for info in registry.describe() if info.name == "helper")
    assert (info.role, info.backend, info.available) == ("markdown", "offline", False)
    assert info.reason == (
        "agent 'helper' has no offline answer: choose a backend, as with --backend"
    )
    assert registry.warnings == [f"agent file {folder}/a.md: 'skills' is not used here"]


def test_its_table_in_the_settings_says_how_it_runs(folder: Path, build: Build) -> None:
    (folder / "a.md").write_text(agent_text())
    agent = must(build("[agents.helper]\nmax_concurrency = 2\n").get("helper"))
    assert agent.max_concurrency == 2
    assert isinstance(agent.role, MarkdownRole)


def test_a_table_without_any_role_is_still_an_error(folder: Path, build: Build) -> None:
    with pytest.raises(SettingsError, match="agent 'helper' has no command"):
        build("[agents.helper]\nmax_concurrency = 2\n")
    (folder / "a.md").write_text(agent_text(description=""))
    with pytest.raises(SettingsError, match="'description' is missing"):
        build("[agents.helper]\nmax_concurrency = 2\n")


def test_what_is_defined_elsewhere_goes_before_a_file_and_that_is_told(
    folder: Path, build: Build
) -> None:
    (folder / "a.md").write_text(agent_text(name="echo"))
    (folder / "b.md").write_text(agent_text(name="lint"))
    registry = build('[agents.lint]\ncommand = ["true"]\n')
    assert must(registry.get("lint")).backend.name == "command"
    assert must(registry.get("echo")).origin == "built in"
    first, second = registry.warnings
    assert "agent 'echo' is defined by dispatch-runner itself, too" in first
    assert "agent 'lint' is defined by file dispatch.toml:1, too" in second


def test_of_two_folders_the_first_counts(folder: Path, tmp_path: Path, build: Build) -> None:
    (tmp_path / "more").mkdir()
    for place in (folder, tmp_path / "more"):
        (place / "a.md").write_text(agent_text(description=f"in {place.name}"))
    registry = build("", "more", "agents")
    role = must(registry.get("helper")).role
    assert isinstance(role, MarkdownRole)
    assert role.description == "in more"
    (warning,) = registry.warnings
    assert f"{folder}/a.md:1: agent 'helper' is defined by {tmp_path}/more/a.md, too" in warning


def test_a_folder_that_is_not_there_is_an_error_at_start(build: Build) -> None:
    with pytest.raises(SettingsError, match="there is no such folder of agents") as caught:
        build("", "nowhere", "neither")
    assert len(caught.value.others) == 1


def test_a_broken_file_is_shown_warned_about_and_refused_with_its_reason(
    folder: Path, build: Build
) -> None:
    (folder / "a.md").write_text(agent_text(name="helper", description="x: y"))
    registry = build()
    (info,) = (info for info in registry.describe() if info.name == "helper")
    assert (info.available, info.role, info.origin) == (False, None, f"{folder}/a.md")
    assert info.reason
    assert info.reason.startswith(f"{folder}/a.md:3: the front matter is not YAML")
    assert registry.warnings == [f"agent file is not used: {info.reason}"]
    with pytest.raises(SettingsError, match="the front matter is not YAML"):
        registry.get("helper")


def test_a_request_for_it_is_checked_like_any_other(folder: Path, tmp_path: Path) -> None:
    (folder / "a.md").write_text(agent_text())
    operator = Operator.of(Flags(agent_folder=("agents",)), {}, tmp_path)
    task = {"task_id": "a", "agent": "helper", "input_data": {"prompts": "x"}}
    with pytest.raises(RequestRejected) as caught:
        prepare(operator, {"tasks": [task]})
    assert {problem.code for problem in caught.value.problems} == {
        "agent_unavailable", "missing_field", "unknown_field",
    }  # fmt: skip
