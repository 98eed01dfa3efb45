"""What runs in an engine's own process: an engine or a generator, each obeying its commands."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from engines.apart_line import NO_TENSORS
from engines.apart_messages import Add, Answer, Cancel, Command, Done, Ran, Ready, Run, Step, Stepped, WarmedUp, WarmUp
from engines.apart_watchdog import elements
from engines.base import Engine, Outputs
from engines.batch import Batch
from engines.errors import EngineError, ExecutionError
from engines.model_config import ModelConfig
from engines.tensor import Tensors
from engines.text_generator import RequestId, TextGenerator
from engines.warmup import warmup_batches

Reply = tuple[Answer, Outputs] | None
"""An answer and its tensors; None: the command is not answered."""


class CountingGenerator(TextGenerator, Protocol):
    """A generator that knows its vocabulary: token ids are below it."""

    vocabulary: int


class Contents(Protocol):
    """What was opened. `opened`: the answer to that."""

    opened: Answer

    def obey(self, command: Command, tensors: Tensors) -> Reply:
        """Does it; raises what the engine does."""


class EngineContents:
    """An engine. `clock` in seconds."""

    def __init__(self, engine: Engine, config: ModelConfig, clock: Callable[[], float] = time.perf_counter) -> None:
        self.opened: Answer = Done()
        self._engine = engine
        self._config = config
        self._clock = clock

    def obey(self, command: Command, tensors: Tensors) -> Reply:
        match command:
            case Run(size):
                return Ran(), self._engine.run(Batch(dict(tensors), size))
            case WarmUp():
                return self._warm_up(), NO_TENSORS
            case _:
                raise _unknown(command)

    def _warm_up(self) -> WarmedUp:
        self._engine.warm_up()
        batch = max(warmup_batches(self._config), key=elements, default=None)
        if batch is not None:
            with suppress(EngineError):  # of a batch that the engine's own warm-up has no use for
                start = self._clock()
                self._engine.run(batch)
                return WarmedUp(self._clock() - start, elements(batch))
        return WarmedUp(0.0, 0)


class GeneratorContents:
    """A generator. `_inner`: its id of each request by the other process's; `_outer`: the way back."""

    def __init__(self, generator: CountingGenerator) -> None:
        self.opened: Answer = Ready(generator.limits, list(generator.features), generator.vocabulary)
        self._generator = generator
        self._inner: dict[RequestId, RequestId] = {}
        self._outer: dict[RequestId, RequestId] = {}

    def obey(self, command: Command, tensors: Tensors) -> Reply:
        match command:
            case WarmUp():
                self._generator.warm_up()
                return Done(), NO_TENSORS
            case Add():
                self._add(command)
                return None
            case Cancel(request_id):
                self._cancel(request_id)
                return None
            case Step():
                return self._step(), NO_TENSORS
            case _:
                raise _unknown(command)

    def _add(self, command: Add) -> None:
        inner = self._generator.add(command.request())
        self._inner[command.request_id] = inner
        self._outer[inner] = command.request_id

    def _cancel(self, request_id: RequestId) -> None:
        inner = self._inner.pop(request_id, None)
        if inner is not None:
            del self._outer[inner]
            self._generator.cancel(inner)

    def _step(self) -> Stepped:
        events = []
        for event in self._generator.step():
            outer = self._outer[event.request_id]
            events.append(replace(event, request_id=outer))
            if event.finish:
                del self._inner[outer], self._outer[event.request_id]
        return Stepped(events)


def _unknown(command: Command) -> ExecutionError:
    return ExecutionError(f"the engine's process was asked for {type(command).__name__}, which it cannot do")
