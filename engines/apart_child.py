"""The process of an engine: `python -m engines.apart_child DESCRIPTOR MODEL`. Ends when its parent hangs up or ends."""

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import engines.errors
from engines import create, open_here
from engines.apart_contents import Contents, EngineContents, GeneratorContents, Reply
from engines.apart_life import end_with_parent
from engines.apart_line import NO_TENSORS, Line
from engines.apart_messages import Command, Failed, Open
from engines.base import EngineOptions
from engines.config.pbtxt import parse
from engines.errors import EngineError, EngineMemoryError, ExecutionError, InvalidInputError, InvalidOutputError
from engines.sequence_tensors import with_sequence_tensors
from engines.tensor import Tensors


def main() -> None:
    """Obeys until the parent is gone. What stops the parent stops this one by hanging up, so signals are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    child = _Child(Line(socket.socket(fileno=descriptor), Command))
    with suppress(EOFError, OSError):
        while True:
            child.obey_next()
    os._exit(0)  # the SDK's own end would only print what still runs


class _Child:
    """Reads commands from `line`, obeys and answers them."""

    def __init__(self, line: Line[Command]) -> None:
        self._line = line
        self._contents: Contents | None = None

    def obey_next(self) -> None:
        """Raises `EOFError` or `OSError` where the parent is gone."""
        command, tensors = self._line.receive()
        reply = self._reply(command, tensors)
        if reply is None:
            return
        try:
            self._line.send(*reply)
        except InvalidInputError as error:  # a dtype that has no name; nothing was sent
            self._line.send(Failed(InvalidOutputError.__name__, f"an output cannot be sent: {error}"))

    def _reply(self, command: Command, tensors: Tensors) -> Reply:
        try:
            return self._obey(command, tensors)
        except EngineError as error:
            return Failed(_kind(error), str(error)), NO_TENSORS
        except MemoryError as error:
            return Failed(EngineMemoryError.__name__, f"the engine's process has no memory left: {error}"), NO_TENSORS
        except Exception as error:
            return Failed(ExecutionError.__name__, f"{type(error).__name__}: {error}"), NO_TENSORS

    def _obey(self, command: Command, tensors: Tensors) -> Reply:
        if isinstance(command, Open):
            self._contents = _open(command)
            return self._contents.opened, NO_TENSORS
        if self._contents is None:
            raise ExecutionError("nothing was opened")
        return self._contents.obey(command, tensors)


def _open(command: Open) -> Contents:
    folder = Path(command.folder)
    config = with_sequence_tensors(parse(command.config, source="config.pbtxt", folder=folder.parent))
    options = EngineOptions(config, folder, command.device, command.threads, command.threads)
    if command.contents == "engine":
        return EngineContents(open_here(options, command.backend), config)
    return GeneratorContents(create(options, "open_generator", command.backend))


def _kind(error: EngineError) -> str:
    """The nearest class of `engines.errors`: an engine may have made one of its own."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == engines.errors.__name__)


if __name__ == "__main__":
    main()
