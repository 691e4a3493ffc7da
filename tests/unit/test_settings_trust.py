"""A stranger's checkout brings nothing into force; the operator's word does, for one place and content."""

import json
import os
import stat
from pathlib import Path

import pytest

from dispatch_runner.errors import RecordError, SettingsError
from dispatch_runner.settings import Flags, Settings, TrustState, load, trust, trust_state

TEXT = '[agents.x]\ncommand = ["x"]\n'


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A working directory with a settings file."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dispatch.toml").write_text(TEXT)
    return folder


def loaded(project: Path, environ: dict[str, str]) -> Settings:
    return load(Flags(), environ, project)


def test_a_project_file_is_ignored_until_it_is_trusted(
    project: Path, environ: dict[str, str]
) -> None:
    before = loaded(project, environ)
    assert before.file is None
    assert before.agents == {}
    (note,) = before.notes
    assert note.startswith("dispatch.toml here is not trusted and was ignored;")
    assert "`dispatch-runner trust`" in note
    trust(project / "dispatch.toml", environ)
    after = loaded(project, environ)
    assert after.file == project / "dispatch.toml"
    assert list(after.agents) == ["x"]
    assert after.notes == ()


def test_a_changed_file_asks_again(project: Path, environ: dict[str, str]) -> None:
    file = project / "dispatch.toml"
    trust(file, environ)
    file.write_text(TEXT + "#\n")
    assert trust_state(file, environ) is TrustState.CHANGED
    assert loaded(project, environ).agents == {}
    assert "has changed" in loaded(project, environ).notes[0]
    trust(file, environ)
    assert trust_state(file, environ) is TrustState.TRUSTED


def test_the_word_holds_for_one_place_only(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    trust(project / "dispatch.toml", environ)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "dispatch.toml").symlink_to(project / "dispatch.toml")
    assert trust_state(stranger / "dispatch.toml", environ) is TrustState.UNKNOWN
    assert loaded(stranger, environ).agents == {}


def test_a_place_is_the_same_through_a_linked_folder(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(project)
    trust(tmp_path / "link" / "dispatch.toml", environ)
    assert trust_state(project / "dispatch.toml", environ) is TrustState.TRUSTED


def test_trusting_one_project_keeps_the_others(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text("")
    trust(project / "dispatch.toml", environ)
    trust(other, environ)
    assert trust_state(project / "dispatch.toml", environ) is TrustState.TRUSTED
    assert trust_state(other, environ) is TrustState.TRUSTED


def test_the_record_is_private_and_in_the_state_folder(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    digest = trust(project / "dispatch.toml", environ)
    record = tmp_path / "home/.local/state/dispatch-runner/trusted.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert json.loads(record.read_text())["trusted"] == {str(project / "dispatch.toml"): digest}
    assert [item.name for item in record.parent.iterdir()] == ["trusted.json"]
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    trust(project / "dispatch.toml", state)
    assert (tmp_path / "state/dispatch-runner/trusted.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"trusted": 3}', "[" * 100_000])
def test_a_broken_record_trusts_nothing_and_is_mended(
    project: Path, environ: dict[str, str], tmp_path: Path, content: str
) -> None:
    record = tmp_path / "home/.local/state/dispatch-runner/trusted.json"
    record.parent.mkdir(parents=True)
    record.write_text(content)
    record.chmod(0o600)
    assert loaded(project, environ).agents == {}
    trust(project / "dispatch.toml", environ)
    assert list(loaded(project, environ).agents) == ["x"]


def test_a_record_that_others_may_write_trusts_nothing(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    trust(project / "dispatch.toml", environ)
    record = tmp_path / "home/.local/state/dispatch-runner/trusted.json"
    record.chmod(0o666)
    assert loaded(project, environ).agents == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_record_of_another_user_trusts_nothing(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    trust(project / "dispatch.toml", environ)
    os.chown(tmp_path / "home/.local/state/dispatch-runner/trusted.json", 12345, -1)
    assert loaded(project, environ).agents == {}


def test_without_a_home_nothing_is_trusted_and_trusting_says_why(project: Path) -> None:
    assert loaded(project, {}).agents == {}
    with pytest.raises(SettingsError, match="set HOME or XDG_STATE_HOME"):
        trust(project / "dispatch.toml", {})


def test_a_record_that_cannot_be_written_is_an_error(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError):
        trust(project / "dispatch.toml", {"HOME": str(tmp_path / "file")})


def test_a_broken_file_is_not_trusted(project: Path, environ: dict[str, str]) -> None:
    file = project / "dispatch.toml"
    file.write_text("x = 1\n")
    with pytest.raises(SettingsError, match="unknown key 'x'"):
        trust(file, environ)
    assert trust_state(file, environ) is TrustState.UNKNOWN


def test_an_untrusted_file_is_not_even_opened(project: Path, environ: dict[str, str]) -> None:
    (project / "dispatch.toml").unlink()
    os.mkfifo(project / "dispatch.toml")
    assert "not trusted" in loaded(project, environ).notes[0]


def test_the_users_own_file_holds_where_no_project_file_does(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "home/.config/dispatch-runner/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[defaults]\nmax_workers = 3\n")
    settings = loaded(project, environ)
    assert settings.file == file
    assert settings.max_workers == 3
    assert settings.origins["max_workers"] == f"file {file}:2"
    assert "not trusted" in settings.notes[0]
    trust(project / "dispatch.toml", environ)
    assert loaded(project, environ).max_workers is None


def test_a_named_file_needs_no_trust(project: Path, environ: dict[str, str]) -> None:
    settings = load(Flags(config=Path("dispatch.toml")), environ, project)
    assert list(settings.agents) == ["x"]
    assert settings.notes == ()


def test_a_relative_base_folder_is_ignored(project: Path, environ: dict[str, str]) -> None:
    (project / "conf/dispatch-runner").mkdir(parents=True)
    (project / "conf/dispatch-runner/config.toml").write_text("x = 1")
    assert loaded(project, environ | {"XDG_CONFIG_HOME": "conf"}).file is None
