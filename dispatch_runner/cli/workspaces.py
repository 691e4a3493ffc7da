"""`workspaces`: what tasks have left in git worktrees, and removing it."""

import os
from dataclasses import asdict
from pathlib import Path

import anyio

from dispatch_runner.cli.answers import answer_usage, print_document
from dispatch_runner.cli.channel import Channel, say
from dispatch_runner.cli.table import table
from dispatch_runner.workspaces.git import GitError
from dispatch_runner.workspaces.leftovers import Leftover, clean, leftovers
from dispatch_runner.workspaces.repository import Repository


def show_leftovers(as_json: bool, channel: Channel) -> int:
    """Prints what is left."""
    try:
        found = anyio.run(leftovers, _repository())
    except GitError as error:
        return answer_usage(channel, error.message, error.hint)
    if as_json:
        print_document(channel, {"workspaces": [asdict(each) for each in found]})
        return 0
    if not found:
        say("no worktrees or branches of dispatches in this repository")
        return 0
    rows = [("TASK", "STATE", "BRANCH", "FOLDER")]
    rows += [(_name(each), _state(each), each.branch or "", each.folder or "") for each in found]
    channel.write(table(rows).encode())
    return 0


def clean_leftovers(dispatch: str | None, force: bool, dry_run: bool, channel: Channel) -> int:
    """Removes what is merged, and prints the names of it."""
    try:
        repository = _repository()
        found = [each for each in anyio.run(leftovers, repository) if _is_meant(each, dispatch)]
        if dispatch is not None and not found:
            hint = "`dispatch-runner workspaces list` shows what is left"
            return answer_usage(channel, f"nothing is left of a dispatch '{dispatch}'", hint)
        if dry_run:
            removed = [each for each in found if _would_go(each, force)]
            kept = [each for each in found if each not in removed]
        else:
            removed, kept = anyio.run(_clean, repository, found, force)
    except GitError as error:
        return answer_usage(channel, error.message, error.hint)
    channel.write("".join(f"{each.branch or each.folder}\n" for each in removed).encode())
    say(f"{'would remove' if dry_run else 'removed'} {len(removed)}, kept {len(kept)}")
    for each in kept[:20]:
        say(f"kept {each.branch or each.folder}: {_state(each)}")
    return 0


async def _clean(
    repository: Repository, found: list[Leftover], force: bool
) -> tuple[list[Leftover], list[Leftover]]:
    return await clean(repository, found, force=force)


def _repository() -> Repository:
    return Repository.find(Path.cwd(), os.environ)


def _is_meant(each: Leftover, dispatch: str | None) -> bool:
    if dispatch is None:
        return True
    return each.dispatch.startswith(dispatch) or each.dispatch.endswith(f"-{dispatch}")


def _would_go(each: Leftover, force: bool) -> bool:
    if each.state in {"running", "in use"}:
        return False
    return force or each.state == "merged"


def _name(each: Leftover) -> str:
    return "(merged)" if each.task_id is None else repr(each.task_id)[1:-1]


def _state(each: Leftover) -> str:
    return f"{each.state}, uncommitted changes" if each.uncommitted else each.state
