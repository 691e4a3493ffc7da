"""What the operator defines, and what follows from it for one dispatch.

Flags, the environment and `dispatch.toml` become `Settings` (`load`); together with the config of a
request they become the configuration in force (`effective`).
"""

from dispatch_runner.settings.effective import (
    EffectiveConfig,
    effective,
    task_retries,
    task_timeout,
)
from dispatch_runner.settings.load import load
from dispatch_runner.settings.names import BACKENDS
from dispatch_runner.settings.trust import TrustState, trust, trust_state
from dispatch_runner.settings.values import Flags, Settings

__all__ = [
    "BACKENDS",
    "EffectiveConfig",
    "Flags",
    "Settings",
    "TrustState",
    "effective",
    "load",
    "task_retries",
    "task_timeout",
    "trust",
    "trust_state",
]
