"""MCP servers and tools in the settings file and in a file of the other format."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.errors import SettingsError
from dispatch_runner.settings import Flags, Settings, load
from dispatch_runner.settings.mcp import McpServer, McpSettings, McpTool
from dispatch_runner.settings.mcp_file import read_servers

ENVIRON = {"PATH": "/bin", "HOME": "/home/me", "ARCHON_TOKEN": "t0ken-value", "OTHER": "x"}

WHOLE = """
[mcp]
embedded = false

[mcp.servers.archon]
url = "http://localhost:8051/mcp"
headers = { Authorization = { from_env = "ARCHON_TOKEN", prefix = "Bearer " } }
timeout_seconds = 10

[mcp.servers.local]
command = ["python3", "server.py", "${OTHER}"]
env = ["PATH", "OTH*"]
set_env = { API_KEY = { from_env = "ARCHON_TOKEN" } }
cwd = "tools"
connect_timeout_seconds = 5

[mcp.tools]
assess_code_quality = "archon/assess_code_quality"

[mcp.tools.perform_rag_query]
tool = "archon/rag_search_knowledge_base"
rename = { max_results = "match_count" }
drop = ["context"]
"""


def load_with(
    tmp_path: Path,
    text: str = "",
    servers: Any = None,
    *,
    environ: dict[str, str] | None = None,
) -> Settings:
    """Settings of a file of this text, and of a file of servers when there are any."""
    file = tmp_path / "dispatch.toml"
    file.write_text(text)
    named = None
    if servers is not None:
        named = tmp_path / ".mcp.json"
        named.write_text(servers if isinstance(servers, str) else json.dumps(servers, indent=1))
    return load(
        Flags(config=file, mcp_config=named), ENVIRON if environ is None else environ, tmp_path
    )


def mcp_of(*arguments: Any, **options: Any) -> McpSettings:
    found = load_with(*arguments, **options).mcp
    assert found is not None
    return found


def problems_of(*arguments: Any) -> list[tuple[str, int | None, str, str | None]]:
    """Source, line, message and hint of everything that is wrong."""
    with pytest.raises(SettingsError) as caught:
        load_with(*arguments)
    found = [caught.value, *caught.value.others]
    return [(each.source, each.line, each.message, each.hint) for each in found]


def test_every_key_is_read(tmp_path: Path) -> None:
    found = mcp_of(tmp_path, WHOLE)
    assert not found.embedded
    assert found.servers["archon"] == McpServer(
        "archon",
        "file dispatch.toml:5",
        url="http://localhost:8051/mcp",
        env={"PATH": "/bin", "HOME": "/home/me"},
        headers={"Authorization": "Bearer t0ken-value"},
        timeout_seconds=10,
    )
    assert found.servers["local"] == McpServer(
        "local",
        "file dispatch.toml:10",
        command=("python3", "server.py", "${OTHER}"),
        env={"PATH": "/bin", "OTHER": "x", "API_KEY": "t0ken-value"},
        cwd=tmp_path / "tools",
        connect_timeout_seconds=5,
    )
    assert found.tools == {
        "assess_code_quality": McpTool("archon", "assess_code_quality"),
        "perform_rag_query": McpTool(
            "archon", "rag_search_knowledge_base", {"max_results": "match_count"}, frozenset({"context"})
        ),
    }  # fmt: skip


def test_without_a_word_about_mcp_nothing_is_set_and_nothing_imported(tmp_path: Path) -> None:
    assert load_with(tmp_path, "[defaults]\nretries = 1").mcp is None


def test_secrets_are_not_in_the_representation(tmp_path: Path) -> None:
    assert "t0ken-value" not in repr(load_with(tmp_path, WHOLE))


def test_a_variable_that_is_not_set_makes_its_server_unusable_and_no_other(tmp_path: Path) -> None:
    found = mcp_of(tmp_path, WHOLE, environ={"PATH": "/bin"})
    assert found.servers["archon"].problem == (
        "its headers.Authorization needs the environment variable ARCHON_TOKEN, which is not set"
    )
    text = '[mcp.servers.a]\ncommand = ["a"]\n[mcp.tools]\nx = "a/x"'
    assert mcp_of(tmp_path, text).servers["a"].problem is None


def test_a_header_that_cannot_be_sent_is_told_without_its_value(tmp_path: Path) -> None:
    found = mcp_of(tmp_path, WHOLE, environ={"ARCHON_TOKEN": "two\nlines"})
    problem = found.servers["archon"].problem
    assert problem == "its header 'Authorization' holds characters that a header cannot have"


def test_a_server_may_be_turned_off(tmp_path: Path) -> None:
    text = '[mcp.servers.a]\ncommand = ["a"]\nenabled = false\n[mcp.tools]\nx = "a/x"'
    assert mcp_of(tmp_path, text).servers["a"].problem == "it is not enabled"


def test_servers_that_no_tool_is_mapped_to_are_noted(tmp_path: Path) -> None:
    (note,) = load_with(tmp_path, '[mcp.servers.a]\ncommand = ["a"]').notes
    assert note.startswith("no tool is mapped to MCP server 'a': only agents on backend 'llm'")


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("[mcp]\nserver = 1", 2, "unknown key 'mcp.server'", "did you mean 'servers'?"),
        ("[mcp]\nembedded = 3", 2, "'mcp.embedded' should be a valid boolean, not 3", None),
        (
            "[mcp.servers.a]\nurls = 1", 2, "unknown key 'mcp.servers.a.urls'", "did you mean 'url'?",
        ),
        (
            "[mcp.servers.a]\ncommand = 'npx -y x'",
            2,
            "'mcp.servers.a.command' is a shell line, not an argument vector",
            'write it as an array: command = ["npx", "-y", "x"]',
        ),
        ("[mcp.servers.a]\n", 1, "server 'a' has neither a command nor a url", "a server has one of the two"),
        (
            "[mcp.servers.a]\ncommand = ['a']\nurl = 'http://x/mcp'",
            1,
            "server 'a' has both a command and a url",
            "a server has one of the two",
        ),
        (
            "[mcp.servers.a]\ncommand = ['a']\nheaders = {x = {from_env = 'X'}}",
            3,
            "'headers' of server 'a' has no effect without a url",
            "remove it, or give a url",
        ),
        (
            "[mcp.servers.a]\nurl = 'http://x/mcp'\ncwd = 'x'",
            3,
            "'cwd' of server 'a' has no effect without a command",
            "remove it, or give a command",
        ),
        ("[mcp.servers.a]\nurl = 'ftp://x'", 2, "'mcp.servers.a.url' is not an http or https URL", None),
        ("[mcp.servers.a]\nurl = 'http://[x'", 2, "'mcp.servers.a.url' is not an http or https URL", None),
        (
            "[mcp.servers.a]\nurl = 'http://me:pw@x/mcp'",
            2,
            "'mcp.servers.a.url' holds credentials; send them in a header",
            None,
        ),
        (
            "[mcp.servers.a]\nurl = 'http://x'\nheaders = {Authorization = 'Bearer abc'}",
            3,
            "'mcp.servers.a.headers.Authorization' should be a table, not 'Bearer abc'",
            None,
        ),
        ("[mcp.servers.embedded]\ncommand = ['a']", 1, "'embedded' cannot be the name of an MCP server", "rename it"),
        ("[mcp.tools]\nx = 'search'", 2, "'mcp.tools.x.tool' is not of the form SERVER/TOOL", None),
        (
            "[mcp.servers.archon]\ncommand = ['a']\n[mcp.tools]\nx = 'archn/x'",
            4,
            "tool 'x' is mapped to server 'archn', which is not defined",
            "did you mean 'archon'?",
        ),
        (
            "[mcp.tools]\nx = 'a/x'",
            2,
            "tool 'x' is mapped to server 'a', which is not defined",
            "define [mcp.servers.a], or name an .mcp.json with --mcp-config",
        ),
        ("[mcp.servers.a]\ncommand = ['a']\ntimeout_seconds = 0", 3, "'mcp.servers.a.timeout_seconds' should be greater than 0, not 0", None),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_line_and_remedy(
    tmp_path: Path, text: str, line: int, message: str, hint: str | None
) -> None:
    assert problems_of(tmp_path, text) == [("dispatch.toml", line, message, hint)]


def test_a_file_in_the_other_format_is_read_and_its_variables_are_replaced(tmp_path: Path) -> None:
    servers = {
        "mcpServers": {
            "a": {
                "command": "${RUNNER:-npx}",
                "args": ["-y", "${OTHER}", "$OTHER", "${UNSET:-}"],
                "env": {"KEY": "${ARCHON_TOKEN}"},
                "autoApprove": ["x"],
            },
            "b": {
                "type": "http",
                "url": "https://${HOST:-example.org}/mcp",
                "headers": {"Authorization": "Bearer ${ARCHON_TOKEN}"},
            },
        },
        "inputs": [],
    }
    found = mcp_of(tmp_path, '[mcp.tools]\nx = "a/x"', servers).servers
    assert found == {
        "a": McpServer(
            "a",
            "file .mcp.json:3",
            command=("npx", "-y", "x", "$OTHER", ""),
            env={"PATH": "/bin", "HOME": "/home/me", "KEY": "t0ken-value"},
            cwd=tmp_path,
        ),
        "b": McpServer(
            "b",
            "file .mcp.json:18",
            url="https://example.org/mcp",
            headers={"Authorization": "Bearer t0ken-value"},
        ),
    }


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"command": "a", "env": {"K": "${NOPE}"}}, "its env.K needs the environment variable NOPE, which is not set"),
        ({"command": "${NOPE}"}, "its command needs the environment variable NOPE, which is not set"),
        ({"url": "${NOPE}/mcp"}, "its url needs the environment variable NOPE, which is not set"),
        ({"type": "sse", "url": "http://x"}, "its transport 'sse' is not supported; use stdio or http"),
        ({"command": "a", "disabled": True}, "it is not enabled"),
        ({"url": "http://x", "headers": {"X": "a\nb"}}, "its header 'X' holds characters that a header cannot have"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_used_is_there_with_its_problem(
    tmp_path: Path, entry: Any, problem: str
) -> None:
    found = mcp_of(tmp_path, '[mcp.tools]\nx = "a/x"', {"mcpServers": {"a": entry}})
    assert found.servers["a"].problem == problem


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ('{"mcpServers": {\n"a": {"command": "x",}}}', 2, "is not valid JSON: illegal trailing comma before end of object"),
        ("[]", None, "has no object 'mcpServers'"),
        ('{"servers": {}}', None, "has no object 'mcpServers'"),
        ('{"mcpServers": {\n"a": 3}}', 2, "server 'a' is not an object"),
        ('{"mcpServers": {\n"a": {}}}', 2, "server 'a' has no 'command'"),
        ('{"mcpServers": {\n"a": {"type": "http"}}}', 2, "server 'a' has no 'url'"),
        ('{"mcpServers": {\n"a": {\n"command": 3}}}', 3, "server 'a' needs a text as 'command'"),
        ('{"mcpServers": {\n"a": {"command": "x",\n"args": "-y"}}}', 3, "'args' of server 'a' is not a list of strings"),
        ('{"mcpServers": {\n"a": {"command": "x",\n"env": {"A": 1}}}}', 3, "'env' of server 'a' is not an object of strings"),
        ('{"mcpServers": {\n"a": {"url": "ftp://x"}}}', 2, "'url' of server 'a' is not an http or https URL"),
        ('{"mcpServers": {\n"a/b": {"command": "x"}}}', 2, "'a/b' cannot be the name of an MCP server"),
    ],
)  # fmt: skip
def test_a_wrong_file_in_the_other_format_is_told_with_its_line(
    tmp_path: Path, content: str, line: int | None, message: str
) -> None:
    ((source, found_line, found, _),) = problems_of(tmp_path, "", content)
    if "trailing comma" in message:  # the words are the standard library's, and change
        message, found = "is not valid JSON", found.partition(":")[0]
    assert (source, found_line, found) == (".mcp.json", line, message)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    content = '{"mcpServers": {\n"a": 3,\n"b": {}}}'
    assert [line for _, line, *_ in problems_of(tmp_path, "", content)] == [2, 3]


def test_a_file_counts_only_when_the_operator_names_it(tmp_path: Path) -> None:
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"a": {"command": "evil"}}}')
    assert load(Flags(config=Path(os.devnull)), ENVIRON, tmp_path).mcp is None
    named = {**ENVIRON, "DISPATCH_RUNNER_MCP_CONFIG": ".mcp.json"}
    found = load(Flags(config=Path(os.devnull)), named, tmp_path).mcp
    assert found is not None
    assert found.servers["a"].command == ("evil",)


def test_a_named_file_wins_over_the_settings_file(tmp_path: Path) -> None:
    text = '[mcp.servers.a]\ncommand = ["old"]\n[mcp.tools]\nx = "a/x"'
    found = mcp_of(tmp_path, text, {"mcpServers": {"a": {"command": "new"}}})
    assert found.servers["a"].command == ("new",)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^nowhere.json: cannot be read: No such file"):
        load(Flags(mcp_config="nowhere.json"), ENVIRON, tmp_path)


def test_a_misspelt_variable_is_noted(tmp_path: Path) -> None:
    environ = {**ENVIRON, "DISPATCH_RUNNER_MCP_CONFG": "x"}
    (note,) = load(Flags(), environ, tmp_path).notes
    assert "did you mean 'DISPATCH_RUNNER_MCP_CONFIG'?" in note


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["command", "args", "env", "url", "type", "headers", "a", "${A}"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_whatever_a_file_holds_is_read_or_refused(tmp_path_factory: Any, entries: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps({"mcpServers": entries}))
    try:
        servers = read_servers(file, "any.json", ENVIRON, file.parent)
    except SettingsError:
        return
    assert servers.keys() == entries.keys()
