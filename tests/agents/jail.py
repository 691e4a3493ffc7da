"""A network namespace that holds only loopback, for the tests and every program they start.

`python tests/agents/jail.py COMMAND...` becomes that command within such a namespace. Where none can
be made it says so and does not run the command; that is a failure only when
`TEST_AGENTS_REQUIRED` is set.
"""

import errno
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

JAILED = "TEST_AGENTS_JAILED"
"""Set in the environment of whatever runs inside."""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses that are reserved for documentation: nobody's, but routed like everybody's."""
UNREACHABLE = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def sealed() -> bool:
    """Whether nothing but this machine can be reached from here. Sends nothing."""
    return not any(_routed(family, address) for family, address in OUTSIDE)


def _routed(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError as error:
        if error.errno in UNREACHABLE:
            return False
        raise
    return True


def raise_loopback() -> None:
    """A new namespace has its loopback down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def unshare() -> list[str]:
    """The command that makes the namespace. Raises `OSError` with the reason where none can be made."""
    if shutil.which("unshare") is None:
        raise OSError("there is no `unshare` on this machine")
    said = ""
    for command in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        tried = subprocess.run([*command, "true"], capture_output=True, timeout=10, check=False)
        if tried.returncode == 0:
            return command
        said = tried.stderr.decode(errors="replace").strip()
    raise OSError(said)


def main(arguments: list[str]) -> None:
    """Becomes the command, or exits."""
    if arguments[:1] == ["--inside"]:
        raise_loopback()
        os.environ[JAILED] = "1"
        os.execvp(arguments[1], arguments[1:])
    try:
        command = unshare()
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"no network namespace, the tests of agents are skipped: {error}\n")
        sys.exit(int(bool(os.environ.get("TEST_AGENTS_REQUIRED"))))
    os.execvp(command[0], [*command, sys.executable, __file__, "--inside", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
