"""At a terminal: a board on stderr, an indented document on stdout, and no waiting for a keyboard."""

import json
import os
import pty

import pytest


class Terminal:
    """A pseudo-terminal whose one end a program gets; `text` is what it printed there."""

    def __init__(self):
        self._ours, self.theirs = pty.openpty()

    def text(self):
        os.close(self.theirs)
        chunks = []
        try:
            while chunk := os.read(self._ours, 1 << 16):
                chunks.append(chunk)
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(self._ours)
        return b"".join(chunks).decode()


@pytest.fixture
def terminal():
    return Terminal()


def run_with(cli, request, **streams):
    process = cli.start(stdin=-1, **streams)
    out, err = process.communicate(json.dumps({"tasks": request}).encode(), timeout=20)
    return process.returncode, out, err


def test_the_board_leaves_the_summary_behind(cli, terminal):
    cli.environ["TERM"] = "xterm-256color"
    cli.settings('[agents.nap]\ncommand = ["sleep", "0.4"]\noutput = "exit"\n')
    tasks = [cli.task("napping", "nap"), cli.echo("next", ["napping"])]
    code, out, _ = run_with(cli, tasks, stderr=terminal.theirs)
    assert code == 0
    assert json.loads(out)["status"] == "success"
    shown = terminal.text()
    assert "\x1b[" in shown
    assert "napping" in shown
    assert "success: 2 of 2" in shown
    assert "\x1b[?25l" not in shown, "the cursor is never hidden"


@pytest.mark.parametrize("name", ["dumb", ""])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(cli, terminal, name):
    cli.environ["TERM"] = name
    code, _, _ = run_with(cli, [cli.echo("alpha")], stderr=terminal.theirs)
    shown = terminal.text()
    assert code == 0
    assert "\x1b[" not in shown
    assert "alpha" in shown


def test_a_document_at_a_terminal_is_indented_and_whole(cli, terminal):
    code, _, _ = run_with(cli, [cli.echo("alpha")], stdout=terminal.theirs)
    text = terminal.text()
    assert code == 0
    assert text.startswith('{\r\n  "status": "success"')
    assert json.loads(text)["results"][0]["task_id"] == "alpha"


def test_what_is_wrong_stands_below_the_document_with_its_place(cli, terminal):
    process = cli.start(stdin=-1, stdout=terminal.theirs, stderr=terminal.theirs)
    process.communicate(b'{"tasks": [1,]}', timeout=20)
    text = terminal.text().replace("\r", "")
    assert process.returncode == 2
    document, _, told = text.partition("\n}\n")
    assert json.loads(document + "}")["status"] == "rejected"
    first, excerpt, caret, *_ = told.splitlines()
    assert "line 1, column 14" in first
    assert "trailing comma" in first
    assert excerpt.index("]") == caret.index("^")


def test_a_keyboard_is_not_waited_for(cli, terminal):
    ran = cli.finish(cli.start(stdin=terminal.theirs))
    assert (ran.code, ran.codes) == (2, ["usage"])
    assert "| dispatch-runner" in ran.errors[0]["hint"]
    terminal.text()
