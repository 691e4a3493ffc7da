"""No secret of the corpus is written or shown, wherever an agent puts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatch_runner.records.printed import CHUNK
from dispatch_runner.records.redaction import Redactor
from support.secrets import CORPUS, filled, leaks

PROGRAM = Path(sys.executable).with_name("dispatch-runner")
PLAIN = Redactor({})
FORMS = {
    "alone": "{}",
    "in a sentence": "it says {} and goes on",
    "on a line of many": "first line\n{}\nlast line",
    "after an escaped line end": "x\\n{}\\n",
    "in a list": "[1, {}, 2]",
    "coloured": "\x1b[31m{}\x1b[0m",
}
EXACT = "correct horse battery 77 staple"
"""Nothing but the name of its variable tells that this is a secret."""

AGENT = '''
import json, os, sys, time
corpus, exact, how = json.load(open(sys.argv[1])), os.environ["MY_PASSWORD"], json.load(sys.stdin)["input"]["how"]
for text in [*corpus, exact]:
    sys.stderr.write(f"progress: {text}\\n")
    half = len(text) // 2
    for part in (text[:half], text[half:] + "\\n"):
        os.write(2, part.encode())
if how == "error":
    print(json.dumps({"error": {"type": "crashed", "message": corpus[0] + exact, "hint": corpus[1], "details": {"all": corpus}}}))
elif how == "crash":
    print(*corpus, exact, sep="\\n")
    sys.exit(9)
else:
    print(json.dumps({"texts": corpus, "by_key": {text: 1 for text in corpus}, "nested": [[{"deep": exact}]], "apiKey": exact}))
'''  # fmt: skip
CHECK = "import sys; print(open(sys.argv[1]).read()); sys.exit(1)"


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_known_wherever_it_stands(form: str) -> None:
    missed = [
        name
        for name, (text, secret) in CORPUS.items()
        if leaks(PLAIN.redact_text(FORMS[form].format(text)), secret)
    ]
    assert not missed


def test_a_secret_is_known_in_the_members_of_a_value_and_in_their_names() -> None:
    value = {text: {"x": [text, {"y": f"it is {text}"}]} for text, _ in CORPUS.values()}
    redacted = json.dumps(PLAIN.redact(value))
    assert not [name for name, (_, secret) in CORPUS.items() if leaks(redacted, secret)]


def test_a_private_key_whose_beginning_was_cut_off_is_known_by_its_end() -> None:
    text, secret = CORPUS["openssh key"]
    assert leaks(PLAIN.redact_text(f"{text[100:]}\nand more"), secret) is None


@pytest.mark.parametrize(
    "text",
    [
        "def token(self, token: Token) -> str:", "token = self.tokens[index + 1]", "next_token = tokens.pop(0)",
        "secret: SecretStr = Field(min_length=12)", "password=args.password2, user=args.user", "api_key=API_KEY_2",
        "tokenizer=gpt2-medium-355m", "max_tokens: 4096000000", "--token-limit=12345678a", "the token is required1",
        "cache key: 8f14e45f-ceea-467f-a8d0-0c1f2e3d4c5b", "https://example.com/x?page=2&sort=key1234567",
        "sort_key=created_at_2", "AUTH_URL=https://example.com/a1b2c3d4", "private_key_path=/home/me/.ssh/id_ed25519",
        "password=${DB_PASSWORD1}", "token: <your-token-1>", "curl -u $USER:$PASSWORD1 example.com",
        "key-value-store-with-a-long-name-1", "task-ant-api03-x", "libfoo-1.2.3-20240131abcdef0123456.tar.gz",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert PLAIN.redact_text(text) == text


@pytest.fixture
def everything(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with an operator's agents that tell all they know, and the environment to run it in."""
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "corpus.json").write_text(json.dumps([text for text, _ in CORPUS.values()]))
    (tmp_path / "all.txt").write_text("\n".join([*(text for text, _ in CORPUS.values()), EXACT]))
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "check.py").write_text(CHECK)
    (tmp_path / "operator.toml").write_text(
        f"""
[agents.teller]
backend = "command"
command = ["{sys.executable}", "{tmp_path}/agent.py", "{tmp_path}/corpus.json"]
env = ["PATH", "MY_PASSWORD"]
[checks.tells]
command = ["{sys.executable}", "{tmp_path}/check.py", "{tmp_path}/all.txt"]
"""
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "MY_PASSWORD": EXACT,
        "DISPATCH_RUNNER_CONFIG": str(tmp_path / "operator.toml"),
    }
    return work, environ


def written(*folders: Path) -> dict[str, str]:
    """Everything that is in files, by name."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes().decode(errors="replace") for path in files}


def test_a_dispatch_whose_agent_tells_everything_writes_nothing_of_it(
    everything: tuple[Path, dict[str, str]],
) -> None:
    work, environ = everything
    told = [text for text, _ in CORPUS.values()]
    tasks = [
        {"task_id": how, "agent": "teller", "retries": 0, "description": told[number], "checks": checks,
         "input_data": {"how": how, "given": told, "exact": EXACT, "api_key": EXACT}}
        for number, (how, checks) in enumerate([("answer", []), ("error", []), ("crash", []), ("checked", ["tells"])])
    ]  # fmt: skip
    request = {"tasks": tasks, "metadata": {"told": told, "exact": EXACT}}
    done = subprocess.run(
        [str(PROGRAM), "--progress", "json", "--events", "events.ndjson"],
        cwd=work, env=environ, input=json.dumps(request).encode(), capture_output=True, timeout=50,
    )  # fmt: skip
    result = json.loads(done.stdout)
    statuses = {task["task_id"]: task["status"] for task in result["results"]}
    assert statuses == {
        "answer": "success",
        "error": "error",
        "crash": "error",
        "checked": "error",
    }, done.stderr
    places = {
        "stdout": done.stdout.decode(),
        "stderr": done.stderr.decode(),
        **written(work, Path(environ["HOME"])),
    }
    assert_clean(places)
    for name in (
        "answer.1.stderr",
        "crash.1.stdout",
        "events.ndjson",
        "request.json",
        "result.json",
    ):
        assert any(
            place.endswith(name) and "[redacted:" in text for place, text in places.items()
        ), name


def test_a_rejected_request_tells_nothing_of_it(everything: tuple[Path, dict[str, str]]) -> None:
    work, environ = everything
    wrong = [
        {"task_id": f"t{number}", "agent": "teller", "input_data": text, "priority": text, "surprise": EXACT}
        for number, (text, _) in enumerate(CORPUS.values())
    ]  # fmt: skip
    done = subprocess.run(
        [str(PROGRAM)], cwd=work, env=environ, input=json.dumps({"tasks": wrong}).encode(),
        capture_output=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 2
    assert_clean({"stdout": done.stdout.decode(), "stderr": done.stderr.decode()})


def assert_clean(places: dict[str, str]) -> None:
    """No part of any secret is in any of the texts, as it is or as JSON has it."""
    secrets = {**{name: secret for name, (_, secret) in CORPUS.items()}, "exact": EXACT}
    found = [
        (name, place, part)
        for place, text in places.items()
        for name, secret in secrets.items()
        for form in {secret, json.dumps(secret)[1:-1]}
        if (part := leaks(text, form)) is not None
    ]
    assert not found, found[:20]


def test_a_secret_across_the_parts_that_a_file_is_read_in_is_found(
    everything: tuple[Path, dict[str, str]],
) -> None:
    """A program prints megabytes, with secrets where one part ends and the next begins."""
    work, environ = everything
    secrets = [f"ghp_{filled(36)}" for _ in range(10)]
    printed = ""
    for number, secret in enumerate(secrets, 1):
        room = number * CHUNK - len(printed) - 4 * number
        printed += f"{'.' * 99}\n" * (room // 100) + "." * (room % 100) + f" {secret}\n"
    (work.parent / "agent.py").write_text(
        f"import sys\nsys.stderr.write({printed!r})\nprint('{{\"a\": 1}}')\n"
    )
    task = {"task_id": "a", "agent": "teller", "input_data": {"how": "x"}}
    done = subprocess.run(
        [str(PROGRAM)], cwd=work, env=environ, input=json.dumps({"tasks": [task]}).encode(),
        capture_output=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts = written(work)
    assert sum(text.count("[redacted:github-token]") for text in texts.values()) == len(secrets)
    assert not [secret for secret in secrets for text in texts.values() if secret[:20] in text]
