"""A process beside this one: started, ended, and ending by itself where this one is gone."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress

from engines.errors import ModelLoadError

END_SECONDS = 5.0
"""Seconds that a process gets to end by itself."""

_STDIN = 0


def start(
    module: str, name: str, environment: Mapping[str, str] | None = None, connections: int = 1
) -> tuple[list[socket.socket], "subprocess.Popen[bytes]"]:
    """Runs `python -m MODULE DESCRIPTOR ... NAME`, and gives our ends of the sockets whose other ends are DESCRIPTORs.

    `environment`: its variables, None for those of this process. Raises `ModelLoadError`.
    """
    try:
        with ExitStack() as theirs, ExitStack() as on_failure:
            ours, descriptors = [], []
            for _ in range(connections):
                our, their = socket.socketpair()
                ours.append(on_failure.enter_context(our))
                descriptors.append(theirs.enter_context(their).fileno())
            command = [sys.executable, "-m", module, *map(str, descriptors), name]
            process = subprocess.Popen(  # noqa: S603 - our own Python and module  # nosec B603
                command, bufsize=0, stdin=subprocess.PIPE, pass_fds=descriptors, env=environment
            )
            on_failure.pop_all()
        return ours, process
    except OSError as error:
        remedy = "free memory, open files or processes"
        raise ModelLoadError(f"the engine's process cannot be started: {error}; {remedy}") from error


def end(process: "subprocess.Popen[bytes]") -> None:
    """Waits for a process that was told to end, and kills one that does not."""
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # a driver that hangs may keep it even then
            process.wait(END_SECONDS)
    if process.stdin:
        process.stdin.close()


def ending(process: "subprocess.Popen[bytes]") -> str:
    """How it ended, as words that follow its name."""
    code = process.returncode
    if code is None:
        return "hung up and does not end, though it was killed"
    return f"ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with code {code}"


def end_with_parent() -> None:
    """Has the kernel end this process when the parent's end of its standard input closes, also in the middle of a run.

    The parent writes nothing there, so the one thing that the signal SIGIO can tell of is that it is gone.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(_STDIN, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(_STDIN, fcntl.F_SETFL, fcntl.fcntl(_STDIN, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([_STDIN], [], [], 0)[0]:
        os._exit(0)  # it went before
