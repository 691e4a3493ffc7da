"""Where one dispatch keeps its records: its name, and the names of its files."""

import os
import re
import time

from dispatch_runner.errors import RecordError
from dispatch_runner.records.folder import Folder, reason

REQUEST_NAME = "request.json"
RESULT_NAME = "result.json"

RUN_NAME = re.compile(r"dispatch-\d{8}_\d{6}-[0-9a-f]{8}")
INDEX_NAME = re.compile(rf"({RUN_NAME.pattern})\.json")

STAMP_LENGTH = len("dispatch-20251006_120000")
"""Characters of a name that tell the second; what follows is chance."""

ATTEMPTS_AT_A_NAME = 100


def create_run_folder(parent: Folder, now: float) -> tuple[str, Folder]:
    """A new run folder named for the time, in UTC, and for chance: no dispatch meets another.

    Raises:
        RecordError: it cannot be made.
    """
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(now))
    for _ in range(ATTEMPTS_AT_A_NAME):
        name = f"dispatch-{stamp}-{os.urandom(4).hex()}"
        try:
            return name, parent.create_folder(name)
        except FileExistsError:
            continue
        except OSError as error:
            raise RecordError("create run folder", parent.path_of(name), reason(error)) from error
    raise RecordError("create run folder in", parent.path, "every name that was tried is taken")
