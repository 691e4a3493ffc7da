"""No secret leaves through stdout, stderr, events or records."""

import json

SECRET = "ghp_" + "a1B2" * 9


def everything_written(folder) -> str:
    return "\n".join(p.read_text(errors="replace") for p in folder.rglob("*") if p.is_file())


def test_a_secret_in_a_request_is_nowhere_to_be_found(cli):
    task = cli.echo("a", input_data={"note": f"token {SECRET}"}, description=f"uses {SECRET}")
    ran = cli(
        "--progress", "json", "--events", "e.ndjson", stdin=[task], writes=("traces", "e.ndjson")
    )
    assert ran.code == 0
    assert ran.tasks["a"]["output"]["note"].startswith("token [redacted:")
    assert SECRET not in ran.stdout.decode() + ran.stderr
    assert SECRET not in everything_written(cli.folder)


def test_a_rejection_does_not_repeat_a_secret(cli):
    document = {"tasks": [{"task_id": "a", "agent": "echo", "input_data": {}, "priority": SECRET}]}
    ran = cli(stdin=json.dumps(document).encode())
    assert ran.code == 2
    assert SECRET not in ran.stdout.decode() + ran.stderr


def test_dependents_get_the_value_and_not_its_mask(cli):
    ran = cli(stdin=[
        cli.echo("a", input_data={"token": SECRET}),
        cli.echo("b", after=["a"], input_data={"length": "${tasks.a.output.token}"}),
    ])  # fmt: skip
    assert ran.code == 0
    assert SECRET not in ran.stdout.decode()
