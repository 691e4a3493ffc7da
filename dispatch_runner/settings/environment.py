"""What a program sees of our environment: what its definition names, and nothing else."""

import fnmatch
import os
import re
from collections.abc import Mapping, Sequence

from dispatch_runner.paths import is_glob

DEFAULT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_*", "TMPDIR", "USER", "TZ")
"""The variables that a program sees when its definition names none."""

SECRET_NAME = re.compile(
    r"(?i)TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|COOKIE"
    r"|(?:^|_|API)(?:KEYS?|AUTH|PASS|PWD|PAT|DSN)(?:_|$)"
)


def passed_environment(
    names: Sequence[str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables that some names and globs select.

    A glob never selects a variable that looks like a secret.
    """
    exact = set(names)
    globs = [name for name in names if is_glob(name)]
    return {
        name: value
        for name, value in environ.items()
        if name in exact
        or (
            not SECRET_NAME.search(name)
            and any(fnmatch.fnmatchcase(name, pattern) for pattern in globs)
        )
    }
