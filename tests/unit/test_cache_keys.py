"""The key of a result: another one as soon as anything that it depends on is another."""

import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dispatch_runner.agents.coder.role import CoderRole
from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.agents.markdown import MarkdownRole
from dispatch_runner.cache.digests import MISSING, Uncacheable, canonical, digest_at
from dispatch_runner.cache.entries import Known
from dispatch_runner.cache.explaining import why_missed
from dispatch_runner.cache.keys import Keys, key_of
from dispatch_runner.engine.runner import Job
from dispatch_runner.models import Task
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, CacheableRole
from dispatch_runner.settings.schema import AgentSettings, CheckSettings
from dispatch_runner.testing import AnyInputRole, ScriptedBackend, scripted_agent

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.text(min_size=1, max_size=5), JSON, max_size=4)


class Reader(AnyInputRole):
    """A role that says what it depends on."""

    version = "1"

    def __init__(self, *reads: str) -> None:
        super().__init__("reader")
        self._reads = reads

    def reads(self, value):
        return self._reads


def job(agent: Agent | None = None, **fields) -> Job:
    agent = agent or scripted_agent()
    task = Task(**{"task_id": "a", "agent": agent.name, "input_data": {}, **fields})
    return Job(task, agent, 10.0, 0)


def keys(folder: Path, environ=None, **agents: AgentSettings) -> Keys:
    checks = {"lint": CheckSettings(command=["true"])}
    roots = AllowedRoots((str(folder.resolve()),))
    return Keys(agents, checks, {"PATH": "/bin"} if environ is None else environ, folder, roots)


def key(folder: Path, made: Job | None = None, value=None, results=None, **more) -> str:
    return key_of(keys(folder, **more).parts(made or job(), value or {}, results or {}, ()))


@given(JSON, JSON)
def test_different_values_have_different_texts(one, other):
    same = one == other and repr(one) == repr(other)
    assume(not same)
    if canonical(one) == canonical(other):
        assert one == other  # 1.0 and 1.0, or an object in another order


@given(OBJECT, OBJECT)
def test_another_input_is_another_key(tmp_path_factory, one, other):
    folder = tmp_path_factory.getbasetemp()
    assert (key(folder, value=one) == key(folder, value=other)) == (
        canonical(one) == canonical(other)
    )


@given(OBJECT, OBJECT, st.sampled_from(["input", "results"]))
def test_an_input_is_never_taken_for_a_result(tmp_path_factory, one, other, where):
    folder = tmp_path_factory.getbasetemp()
    assume(one != other)
    assert key(folder, value=one, results={"b": other}) != key(
        folder, value=other, results={"b": one}
    )


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_keys_does_not_matter(tmp_path_factory, names):
    folder = tmp_path_factory.getbasetemp()
    value = {name: dict.fromkeys(names, 1) for name in names}
    assert key(folder, value=value) == key(
        folder, value={name: dict.fromkeys(sorted(names), 1) for name in sorted(names)}
    )


def test_the_task_id_is_no_part(tmp_path):
    assert key(tmp_path, job(task_id="a")) == key(tmp_path, job(task_id="b"))


def changed(folder: Path) -> dict[str, str]:
    """A key for each single thing that is other than in the first one."""
    backend = ScriptedBackend()
    backend.name = "other"
    agent = scripted_agent()
    named = {"fake": AgentSettings(model="m")}
    command = scripted_agent()._replace(backend=ScriptedBackend())
    return {
        "nothing": key(folder),
        "agent": key(folder, job(scripted_agent("other"))),
        "role": key(folder, job(agent._replace(role=Reader()))),
        "backend": key(folder, job(agent._replace(backend=backend))),
        "model": key(folder, **named),
        "another model": key(folder, fake=AgentSettings(model="n")),
        "access": key(folder, fake=AgentSettings(model="m", access="edit")),
        "base_url": key(folder, fake=AgentSettings(model="m", base_url="http://localhost/v1")),
        "command": key(folder, fake=AgentSettings(command=["true"])),
        "argument": key(folder, fake=AgentSettings(command=["true", "x"])),
        "folder": key(folder / "below"),
        "input": key(folder, value={"a": 1}),
        "input key": key(folder, value={"b": 1}),
        "a result": key(folder, results={"b": {"n": 1}}),
        "no result": key(folder, results={"b": None}),
        "another result": key(folder, results={"c": None}),
        "check of the task": key(folder, job(checks=["lint"])),
        "description": key(folder, job(command, description="x")),
    }


def test_any_single_difference_is_another_key(tmp_path):
    (tmp_path / "below").mkdir()
    found = changed(tmp_path)
    assert len(set(found.values())) == len(found), found


def test_the_operators_limits_are_no_part(tmp_path):
    limited = AgentSettings(
        model="m", timeout_seconds=3, max_concurrency=2, max_memory_mb=10, provider="p",
        api_key_env="KEY", grace_seconds=1, retries=3, max_cost_usd=1.0,
    )  # fmt: skip
    assert key(tmp_path, fake=AgentSettings(model="m")) == key(tmp_path, fake=limited)


def test_a_description_is_no_part_for_a_role_that_says_what_it_depends_on(tmp_path):
    agent = scripted_agent()._replace(role=Reader())
    assert key(tmp_path, job(agent)) == key(tmp_path, job(agent, description="other"))


def test_the_version_of_a_role_is_a_part(tmp_path):
    old, new = Reader(), Reader()
    new.version = "2"
    assert key(tmp_path, job(scripted_agent()._replace(role=old))) != key(
        tmp_path, job(scripted_agent()._replace(role=new))
    )


def test_every_state_of_a_file_that_is_read_is_another_key(tmp_path):
    file = tmp_path / "read.txt"
    agent = scripted_agent()._replace(role=Reader(str(file)))
    seen = [key(tmp_path, job(agent))]
    for content in ("", "a", "b"):
        file.write_text(content)
        seen.append(key(tmp_path, job(agent)))
    file.unlink()
    file.mkdir()
    seen.append(key(tmp_path, job(agent)))
    (file / "inner").write_text("x")
    seen.append(key(tmp_path, job(agent)))
    (file / "inner").rename(file / "other")
    seen.append(key(tmp_path, job(agent)))
    assert len(set(seen)) == len(seen)


def test_a_file_touched_and_not_changed_is_the_same_key(tmp_path):
    file = tmp_path / "read.txt"
    file.write_text("a")
    agent = scripted_agent()._replace(role=Reader(str(file)))
    before = key(tmp_path, job(agent))
    os.utime(file, (1, 1))
    assert key(tmp_path, job(agent)) == before


def test_a_role_that_does_not_say_depends_on_every_path_in_its_input(tmp_path):
    file = tmp_path / "named.txt"
    value = {"deep": [{"path": str(file)}]}
    before = key(tmp_path, value=value)
    file.write_text("now")
    assert key(tmp_path, value=value) != before


def test_a_path_outside_the_allowed_folders_is_not_looked_at(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    outside = tmp_path / "outside.txt"
    before = key(inside, value={"path": str(outside)})
    outside.write_text("now")
    assert key(inside, value={"path": str(outside)}) == before


def test_a_file_that_is_written_is_no_part(tmp_path):
    file = tmp_path / "made.txt"
    made = keys(tmp_path)
    value = {"path": str(file)}
    before = made.parts(job(), value, {}, (str(file),))
    file.write_text("now")
    assert made.parts(job(), value, {}, (str(file),)) == before


def test_a_script_that_changed_is_another_key(tmp_path):
    script = tmp_path / "agent.sh"
    script.write_text("echo 1")
    definition = AgentSettings(command=["sh", "agent.sh"])
    before = key(tmp_path, fake=definition)
    script.write_text("echo 2")
    assert key(tmp_path, fake=definition) != before


def test_a_check_whose_script_changed_is_another_key(tmp_path):
    script = tmp_path / "check.sh"
    script.write_text("exit 0")
    made = keys(tmp_path)._replace(checks={"own": CheckSettings(command=["sh", "check.sh"])})
    before = made.parts(job(checks=["own"]), {}, {}, ())
    script.write_text("exit 1")
    assert made.parts(job(checks=["own"]), {}, {}, ()) != before


def test_a_variable_that_the_definition_names_is_a_part_and_no_other(tmp_path):
    definition = AgentSettings(command=["true"], env=["MODE"])
    seen = [
        key(tmp_path, environ={"PATH": "/bin", **more}, fake=definition)
        for more in ({}, {"MODE": "a"}, {"MODE": "b"}, {"MODE": "b", "OTHER": "c"})
    ]
    assert len(set(seen)) == 3
    assert seen[2] == seen[3]


def test_a_secret_variable_counts_only_as_there_or_not(tmp_path):
    definition = AgentSettings(command=["true"], env=["API_KEY"])
    seen = [
        key(tmp_path, environ={"PATH": "/bin", **more}, fake=definition)
        for more in ({}, {"API_KEY": "a"}, {"API_KEY": "b"})
    ]
    assert seen[0] != seen[1] == seen[2]


def test_who_serves_the_model_is_a_part(tmp_path):
    agent = scripted_agent()._replace(backend=ScriptedBackend(provider="anthropic"))
    seen = {
        key(tmp_path, job(agent), environ={"PATH": "/bin", **more})
        for more in ({}, {"ANTHROPIC_BASE_URL": "http://a"}, {"ANTHROPIC_MODEL": "m"})
    }
    assert len(seen) == 3


def test_a_role_that_depends_on_more_than_it_can_name_has_no_key(tmp_path):
    role = Reader()
    role._reads = None
    with pytest.raises(Uncacheable, match="more files than its input names"):
        key(tmp_path, job(scripted_agent()._replace(role=role)))


def test_a_file_that_cannot_be_compared_is_no_reason_to_fail(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert digest_at(str(tmp_path / "fifo")).startswith("kind")
    assert digest_at(str(tmp_path / "none")) == MISSING
    assert digest_at(str(tmp_path)).startswith("folder"), "with a fifo in it"


def test_links_in_a_folder_are_told_and_not_followed(tmp_path):
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    target.write_text("a")
    (folder / "link").symlink_to(target)
    (folder / "loop").symlink_to(folder)
    before = digest_at(str(folder))
    target.write_text("b")
    assert digest_at(str(folder)) == before
    (folder / "link").unlink()
    (folder / "link").symlink_to(folder)
    assert digest_at(str(folder)) != before


def test_what_is_no_json_has_no_key():
    with pytest.raises(Uncacheable, match="cannot be written as JSON"):
        canonical({"a": object()})
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Uncacheable):
        canonical(deep)


def known(key: str, **parts: str) -> Known:
    return Known(key, parts, f"dispatch-{key}", "then")


@pytest.mark.parametrize(
    ("earlier", "words"),
    [
        ([], "no result of this task is in the cache"),
        ([known("k", a="1", b="2")], "dispatch-k of then is not in the cache any more"),
        ([known("x", a="1", b="3")], "differs from dispatch dispatch-x of then in b"),
        ([known("x", a="1")], "in b (new)"),
        ([known("x", a="1", b="2", c="3")], "in c (gone)"),
        ([known("far", a="9", b="9"), known("near", a="1", b="9")], "dispatch-near of then in b"),
    ],
)
def test_a_miss_is_explained_by_the_nearest_earlier_result(earlier, words):
    assert words in why_missed({"a": "1", "b": "2"}, "k", earlier)


def test_an_explanation_is_bounded():
    parts = {f"part {number}": "1" for number in range(30)}
    told = why_missed(parts, "k", [known("x", **dict.fromkeys(parts, "2"))])
    assert told.endswith("and 22 more")


def test_our_own_roles_say_what_they_depend_on():
    coder, debug = CoderRole(), DebugRole()
    assert isinstance(coder, CacheableRole)
    assert isinstance(debug, CacheableRole)
    assert coder.reads({"context_files": ["/a"], "output_path": "/b"}) == ["/a"]
    assert debug.reads({"affected_files": ["/a", "/b"]}) == ["/a", "/b"]
    assert "prompt" in coder.version
    assert "ruff" in debug.version


@pytest.mark.parametrize("tests", [{"test_paths": ["/t"]}, {"test_command": "unit"}])
def test_an_analysis_that_runs_tests_depends_on_more_than_can_be_named(tests):
    assert DebugRole().reads({"affected_files": ["/a"], **tests}) is None


def test_everything_that_an_agent_file_says_makes_another_version():
    made = [
        MarkdownRole("a", "", "do this"),
        MarkdownRole("a", "", "do that"),
        MarkdownRole("a", "", "do this", ("Read",)),
        MarkdownRole("a", "", "do this", None, "haiku"),
    ]
    assert len({role.version for role in made}) == 4
    assert made[0].reads({"prompt": "p", "files": ["/a"]}) == ["/a"]


def test_what_the_operator_says_an_agent_reads_is_a_part(tmp_path):
    definition = AgentSettings(command=["true"], reads=["src/**/*.py", "setup.cfg"])
    (tmp_path / "src/deep").mkdir(parents=True)
    seen = [key(tmp_path, fake=definition)]
    for name in ("src/deep/a.py", "setup.cfg"):
        (tmp_path / name).write_text("1")
        seen.append(key(tmp_path, fake=definition))
    (tmp_path / "src/deep/a.py").write_text("2")
    seen.append(key(tmp_path, fake=definition))
    (tmp_path / "src/notes.txt").write_text("not read")
    assert len(set(seen)) == 4
    assert key(tmp_path, fake=definition) == seen[-1]


def test_what_a_task_writes_is_no_part_of_what_its_agent_reads(tmp_path):
    file = tmp_path / "a.py"
    made = keys(tmp_path, fake=AgentSettings(command=["true"], reads=["*.py"]))
    before = made.parts(job(), {}, {}, (str(file),))
    file.write_text("now")
    assert made.parts(job(), {}, {}, (str(file),)) == before
