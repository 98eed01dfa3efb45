"""Calls for the tests, and what they are answered with."""

from collections.abc import Callable, Sequence
from queue import SimpleQueue

import numpy as np

from engines.calls import Call, CallEngine, Response
from engines.tensor import Array, Tensors

PATIENCE = 20.0
"""Seconds for an answer that must come."""


class Answers:
    """What a call is answered with by `respond`, on whichever thread."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Response] = SimpleQueue()

    def next(self) -> Response:
        return self.queue.get(timeout=PATIENCE)

    def all(self) -> list[Response]:
        """Up to the final one."""
        found = [self.next()]
        while not (found[-1].final or found[-1].error):
            found.append(self.next())
        return found


def call(inputs: Tensors, answers: Answers | None = None, cancelled: Callable[[], bool] = lambda: False) -> Call:
    return Call(inputs, (answers or Answers()).queue.put, cancelled)


def run(engine: CallEngine, *calls: Call) -> Sequence[Response]:
    """What `execute` returns, where it returns all."""
    found = [response for response in engine.execute(calls) if response is not None]
    assert len(found) == len(calls)
    return found


def outputs(engine: CallEngine, one: Call) -> Tensors:
    (response,) = run(engine, one)
    assert response.error is None, response.error
    assert response.final
    return response.outputs


def strings(*values: str) -> Array:
    return np.array([value.encode() for value in values], np.object_)
