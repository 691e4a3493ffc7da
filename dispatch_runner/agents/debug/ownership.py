"""Whose code a frame is: the project's, or a library's and the runtime's."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces import RawFrame

LIBRARY_PATHS = {
    "python": re.compile(
        r"(^|/)(site-packages|dist-packages)/|/lib(64)?/python\d|/Python3?\d*/Lib/|^<|"
        r"(^|/)(_pytest|pluggy)/"
    ),
    "javascript": re.compile(r"(^|/)node_modules/|^node:|^internal/|^<|^(chrome|moz)-extension:"),
    "go": re.compile(r"/go/src/|/pkg/mod/|/libexec/src/|/vendor/|^<"),
    "rust": re.compile(r"^/rustc/|/\.cargo/registry/|/\.cargo/git/|/\.rustup/|^library/"),
    "php": re.compile(r"(^|/)vendor/|^phar:|^<"),
    "ruby": re.compile(r"/gems/|/lib/ruby/|^<internal:|^\(eval"),
    "dart": re.compile(
        r"^dart:|/\.pub-cache/|^package:(flutter|flutter_test|stack_trace)/|^org-dartlang"
    ),
    "csharp": re.compile(r"^/_/src/|[/]dotnet[/]"),
}
LIBRARY_FUNCTIONS = {
    "java": re.compile(
        r"^(java|javax|jakarta|jdk|sun|com\.sun|kotlin|kotlinx|scala|groovy|org\.(springframework|"
        r"junit|hibernate|apache|eclipse|gradle|mockito|jboss|slf4j)|android|androidx|io\.(netty|"
        r"micronaut|ktor|reactivex)|reactor)\."
    ),
    "csharp": re.compile(r"^(System|Microsoft|Xunit|NUnit)\."),
    "go": re.compile(r"^(runtime|testing|net/http|reflect|sync)\."),
    "rust": re.compile(r"^(<?(std|core|alloc)::|rust_begin_unwind|__rust|_start|main$|__libc)"),
}


def is_own(language: str, frame: RawFrame) -> bool:
    """Whether nothing marks the frame as a library's. A frame without a file is not own code."""
    if not frame.file or frame.line is None:
        return False
    path = frame.file.replace("\\", "/")
    paths, functions = LIBRARY_PATHS.get(language), LIBRARY_FUNCTIONS.get(language)
    if paths is not None and paths.search(path):
        return False
    return functions is None or not functions.search(frame.function)
