"""The process of a generator: `python -m engines.apart_child DESCRIPTOR MODULE`. Ends when its parent hangs up."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Protocol

from engines.apart_messages import Add, Added, Answer, Cancel, Command, Done, Failed, Line, Open, Ready, Stepped, WarmUp
from engines.base import EngineOptions
from engines.config.pbtxt import parse
from engines.errors import EngineError, ExecutionError
from engines.text_generator import TextGenerator


class CountingGenerator(TextGenerator, Protocol):
    """A generator that knows its vocabulary: token ids are below it."""

    vocabulary: int


def main() -> None:
    """Obeys until the parent is gone. What stops the parent stops this one by hanging up, so signals are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    line: Line[Command] = Line(socket.socket(fileno=int(sys.argv[1])), Command)
    with suppress(EOFError, OSError):
        _obey(line, import_module(sys.argv[2]).open_generator)
    os._exit(0)  # the SDK's own end would only print what still runs


def _obey(line: Line[Command], create: Callable[[EngineOptions], CountingGenerator]) -> None:
    generator: CountingGenerator | None = None
    while True:
        command = line.receive()
        answer: Answer | None
        try:
            if isinstance(command, Open):
                generator = create(_options(command))
                answer = Ready(generator.limits, list(generator.features), generator.vocabulary)
            else:
                answer = _do(command, generator)
        except EngineError as error:
            answer = Failed(type(error).__name__, str(error))
        except Exception as error:
            answer = Failed(ExecutionError.__name__, f"{type(error).__name__}: {error}")
        if answer is not None:
            line.send(answer)


def _options(command: Open) -> EngineOptions:
    folder = Path(command.folder)
    config = parse(command.config, source="config.pbtxt", folder=folder.parent)
    return EngineOptions(config, folder, command.device, command.threads, command.lone_threads)


def _do(command: Command, generator: TextGenerator | None) -> Answer | None:
    if generator is None:
        raise ExecutionError("nothing was opened")
    match command:
        case WarmUp():
            generator.warm_up()
            return Done()
        case Add():
            return Added(generator.add(command.request()))
        case Cancel():
            generator.cancel(command.request_id)
            return None
        case _:
            return Stepped(list(generator.step()))


if __name__ == "__main__":
    main()
