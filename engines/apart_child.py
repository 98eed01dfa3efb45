"""The process of a generator: `python -m engines.apart_child DESCRIPTOR MODULE`. Ends when its parent hangs up."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

from engines.apart_messages import Add, Answer, Cancel, Command, Done, Failed, Line, Open, Ready, Stepped, WarmUp
from engines.base import EngineOptions
from engines.config.pbtxt import parse
from engines.errors import EngineError, ExecutionError
from engines.text_generator import RequestId, TextGenerator


class CountingGenerator(TextGenerator, Protocol):
    """A generator that knows its vocabulary: token ids are below it."""

    vocabulary: int


def main() -> None:
    """Obeys until the parent is gone. What stops the parent stops this one by hanging up, so signals are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    line: Line[Command] = Line(socket.socket(fileno=int(sys.argv[1])), Command)
    child = _Child(import_module(sys.argv[2]).open_generator)
    with suppress(EOFError, OSError):
        while True:
            answer = _answer(child, line.receive())
            if answer is not None:
                line.send(answer)
    os._exit(0)  # the SDK's own end would only print what still runs


class _Child:
    """Obeys commands. `_inner`: the generator's id of each request by the parent's; `_outer`: the way back."""

    def __init__(self, create: Callable[[EngineOptions], CountingGenerator]) -> None:
        self._create = create
        self._generator: CountingGenerator | None = None
        self._inner: dict[RequestId, RequestId] = {}
        self._outer: dict[RequestId, RequestId] = {}

    def obey(self, command: Command) -> Answer | None:
        """Does it; raises `EngineError`."""
        if isinstance(command, Open):
            self._generator = self._create(_options(command))
            return Ready(self._generator.limits, list(self._generator.features), self._generator.vocabulary)
        if self._generator is None:
            raise ExecutionError("nothing was opened")
        match command:
            case WarmUp():
                self._generator.warm_up()
                return Done()
            case Add():
                self._add(command, self._generator)
                return None
            case Cancel(request_id):
                self._cancel(request_id, self._generator)
                return None
            case _:
                return self._step(self._generator)

    def _add(self, command: Add, generator: TextGenerator) -> None:
        inner = generator.add(command.request())
        self._inner[command.request_id] = inner
        self._outer[inner] = command.request_id

    def _cancel(self, request_id: RequestId, generator: TextGenerator) -> None:
        inner = self._inner.pop(request_id, None)
        if inner is not None:
            del self._outer[inner]
            generator.cancel(inner)

    def _step(self, generator: TextGenerator) -> Stepped:
        events = []
        for event in generator.step():
            outer = self._outer[event.request_id]
            events.append(replace(event, request_id=outer))
            if event.finish:
                del self._inner[outer], self._outer[event.request_id]
        return Stepped(events)


def _answer(child: _Child, command: Command) -> Answer | None:
    try:
        return child.obey(command)
    except EngineError as error:
        return Failed(type(error).__name__, str(error))
    except Exception as error:
        return Failed(ExecutionError.__name__, f"{type(error).__name__}: {error}")


def _options(command: Open) -> EngineOptions:
    folder = Path(command.folder)
    config = parse(command.config, source="config.pbtxt", folder=folder.parent)
    return EngineOptions(config, folder, command.device, command.threads, command.lone_threads)


if __name__ == "__main__":
    main()
