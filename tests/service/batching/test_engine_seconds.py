"""What each answer cost: its share, by cost, of the batches that it was in, on a clock that each run moves."""

from concurrent.futures import Future

import numpy as np

from engines.base import Outputs
from engines.batch import Batch
from engines.errors import ExecutionError
from engines.tensor import FP32, Signature, TensorSpec
from service.batching.answers import timing_of
from service.batching.compose import StackComposer
from service.batching.open_calls import BatchSize, OpenCall
from service.batching.outputs import OutputCheck
from service.batching.ticket import Answer, Ticket, Waiting
from service.batching.worker import Worker
from service.types import Timing

SIGNATURE = Signature((TensorSpec("x", FP32, (1,)),), (TensorSpec("x", FP32, (1,)),), 8)
COMPOSER = StackComposer(8)
POISON = -1.0
RUN = 1.0
"""Seconds of a run."""


class Counted:
    """An identity whose every run takes a second of `clock`, and fails where the poison is in it."""

    signature = SIGNATURE

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def warm_up(self) -> None: ...

    def run(self, batch: Batch) -> Outputs:
        self.now += RUN
        if POISON in batch.inputs["x"]:
            raise ExecutionError("poison")
        return dict(batch.inputs)

    def close(self) -> None: ...


def ticket(rows: int, value: float = 0.0) -> Ticket:
    future: Future[list[Answer]] = Future()
    tensors = {"x": np.full((rows, 1), value, np.float32)}
    return Ticket(Waiting(future, [None], 1), 0, tensors, rows, rows, 0.0, 9.0, 9.0, 9.0)


def spent(*tickets: Ticket) -> list[float]:
    """Engine-seconds of the answers, in the order of `tickets`; nan where there is none."""
    engine = Counted()
    executed = Worker(engine, OutputCheck(SIGNATURE), COMPOSER, engine.clock).execute(COMPOSER.arrange(tickets))
    results = {id(one): result for one, result in executed.results}
    found = [results[id(one)] for one in tickets]
    return [one.timing.engine_seconds if isinstance(one, Answer) else float("nan") for one in found]


def test_a_batch_is_shared_by_cost() -> None:
    assert spent(ticket(1), ticket(3), ticket(4)) == [RUN / 8, RUN * 3 / 8, RUN / 2]


def test_a_batch_that_was_run_again_in_halves_is_paid_twice() -> None:
    """Of a failed run of four seats each has a quarter; then two share one run, and the poison's neighbour pays a run
    that it shared with the poison, and one of its own."""
    found = spent(ticket(1), ticket(1), ticket(1), ticket(1, POISON))
    assert found[:3] == [RUN / 4 + RUN / 2, RUN / 4 + RUN / 2, RUN / 4 + RUN / 2 + RUN]
    assert np.isnan(found[3])


def test_the_parts_of_a_request_add_up() -> None:
    parts = [Answer({}, Timing(engine_seconds=seconds)) for seconds in (0.5, 0.25, 0.125)]
    assert timing_of(parts).engine_seconds == 0.875
    assert timing_of(parts[:1]).engine_seconds == 0.5


def test_a_call_of_many_answers_pays_each_second_once() -> None:
    call = OpenCall(ticket(1), object(), 10.0, BatchSize(2, 2, 2))
    assert [call.bill(now) for now in (11.0, 12.0, 14.0)] == [0.5, 0.5, 1.0]
