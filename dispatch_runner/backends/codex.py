"""OpenAI's Codex as an agent: its command line without a terminal, `codex exec --json`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from dispatch_runner.backends.agent_program import AgentProgram
from dispatch_runner.backends.choices import access_of, model_of, prompt_with_system
from dispatch_runner.backends.codex_record import SessionRecord
from dispatch_runner.backends.codex_turn import Turn
from dispatch_runner.backends.following import looking
from dispatch_runner.backends.prices import unknown_price
from dispatch_runner.backends.spending import Spending
from dispatch_runner.backends.words import asks_for_json, output_of, prompt_of
from dispatch_runner.models import JsonObject
from dispatch_runner.process import MARKER
from dispatch_runner.protocols import Access, AgentCall, Answer, PromptedRole, Question, Role
from dispatch_runner.settings.environment import DEFAULT_ENVIRONMENT
from dispatch_runner.settings.values import BackendOptions

CREDENTIALS = ("CODEX_API_KEY", "CODEX_HOME", "OPENAI_API_KEY")
INSTALL = "npm install -g @openai/codex"
SANDBOXES: Mapping[Access, str] = {
    "read": "read-only",
    "edit": "workspace-write",
    "execute": "workspace-write",
}
"""Codex runs commands with any access, within its sandbox."""
QUIET = (
    "analytics.enabled=false",
    "check_for_update_on_startup=false",
    "features.plugins=false",
    'approval_policy="never"',
    "project_doc_max_bytes=0",  # AGENTS.md of the repository
    "shell_environment_policy.inherit=\"all\"",
)
TOOLS_SEE = (*DEFAULT_ENVIRONMENT, "LOGNAME", "SHELL", "TERM", "DISPATCH_RUNNER_*", "TRACEPARENT", MARKER)
"""What commands of the agent see of the environment: no keys."""
OWN_PROVIDER = "dispatch-runner"
"""The name under which Codex is told of `base_url`."""
