"""One batch on one engine that fails in its ways: who gets which error, by numbers and without threads."""

from concurrent.futures import Future

import numpy as np
import pytest

from engines.base import Outputs
from engines.batch import Batch
from engines.errors import EngineLostError, EngineMemoryError, ExecutionError
from engines.tensor import FP32, Signature, TensorSpec
from service.batching.compose import StackComposer
from service.batching.losses import LONE_LOSSES
from service.batching.outputs import OutputCheck
from service.batching.ticket import Answer, Ticket, Waiting
from service.batching.worker import Executed, Worker
from service.errors import EngineFailedError

SIGNATURE = Signature((TensorSpec("x", FP32, (1,)),), (TensorSpec("x", FP32, (1,)),), 8)
FAIL, NAN, SHAPE, DTYPE, NAME, MEMORY, LOST = -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0
COMPOSER = StackComposer(8)


class Faulty:
    """Doubles its input; certain values spoil the whole batch. `most`: rows that fit into memory."""

    signature = SIGNATURE

    def __init__(self, most: int = 8) -> None:
        self.batches: list[list[float]] = []
        self._most = most

    def warm_up(self) -> None: ...

    def run(self, batch: Batch) -> Outputs:
        x = batch.inputs["x"]
        values = x[:, 0].tolist()
        self.batches.append(values)
        if FAIL in values:
            raise ExecutionError("fails")
        if LOST in values:
            raise EngineLostError("killed")
        if MEMORY in values or len(values) > self._most:
            raise EngineMemoryError("no memory")
        if SHAPE in values:
            return {"x": np.zeros((len(x), 2), np.float32)}
        if DTYPE in values:
            return {"x": x.astype(np.float64)}
        if NAME in values:
            return {"y": x}
        return {"x": np.where(x == NAN, np.float32("nan"), 2 * x)}

    def close(self) -> None: ...


def ticket(value: float) -> Ticket:
    future: Future[list[Answer]] = Future()
    tensors = {"x": np.array([[value]], np.float32)}
    return Ticket(Waiting(future, [None], 1), 0, tensors, 1, 1, 0.0, 1.0, 1.0, 1.0)


def execute(values: list[float], engine: Faulty | None = None, *, finite: bool = True) -> Executed:
    worker = Worker(engine or Faulty(), OutputCheck(SIGNATURE, finite), COMPOSER, lambda: 0.0)
    return worker.execute(COMPOSER.arrange([ticket(value) for value in values]))


def ended(executed: Executed) -> dict[float, float | str]:
    """Value in -> value out, or the error."""
    return {
        float(one.tensors["x"][0, 0]): float(result.outputs["x"][0, 0]) if isinstance(result, Answer) else str(result)
        for one, result in executed.results
    }


def values(tickets: list[Ticket]) -> list[float]:
    return [float(one.tensors["x"][0, 0]) for one in tickets]


@pytest.mark.parametrize(
    ("bad", "said"),
    [(FAIL, "fails"), (NAN, "NaN"), (SHAPE, "wanted"), (DTYPE, "float64"), (NAME, "no output 'x'")],
)
def test_only_the_row_at_fault_gets_the_error_and_is_guilty(bad: float, said: str) -> None:
    executed = execute([1.0, 2.0, bad, 3.0, 4.0])
    results = ended(executed)
    assert said in str(results.pop(bad))
    assert results == {1.0: 2.0, 2.0: 4.0, 3.0: 6.0, 4.0: 8.0}
    assert values(executed.guilty) == [bad]
    assert executed.unclear == []
    assert executed.splits > 0
    error = next(result for _, result in executed.results if isinstance(result, EngineFailedError))
    assert not error.retryable


def test_an_engine_that_answers_nobody_blames_nobody() -> None:
    executed = execute([FAIL, FAIL, FAIL])
    assert executed.guilty == []
    assert len(executed.unclear) == 3
    assert all(isinstance(result, EngineFailedError) and result.retryable for _, result in executed.results)


def test_what_fails_without_neighbours_is_unclear() -> None:
    executed = execute([FAIL])
    assert executed.guilty == []
    assert values(executed.unclear) == [FAIL]


def test_nan_is_an_answer_where_nobody_forbids_it() -> None:
    executed = execute([1.0, NAN], finite=False)
    assert not executed.failed
    assert np.isnan(ended(executed)[NAN])


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    executed = execute([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], Faulty(most=2))
    assert set(ended(executed).values()) == {2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0}
    assert executed.memory_errors == 3
    assert executed.too_large == 4


def test_what_does_not_fit_alone_may_fit_elsewhere() -> None:
    executed = execute([1.0, MEMORY])
    assert [executed.guilty, executed.unclear] == [[], []]
    error = next(result for _, result in executed.results if isinstance(result, EngineFailedError))
    assert error.retryable


def test_a_lost_engine_ends_the_batch_and_leaves_its_tickets() -> None:
    executed = execute([1.0, LOST, 2.0])
    assert executed.lost is not None
    assert executed.results == []
    assert values(executed.unanswered) == [1.0, LOST, 2.0]
    assert all(one.suspect and not one.lone_losses for one in executed.unanswered)


def test_what_was_answered_before_the_engine_was_lost_stays_answered() -> None:
    executed = execute([FAIL, 1.0, 2.0, LOST])
    assert ended(executed)[1.0] == 2.0
    assert values(executed.unanswered) == [2.0, LOST]
    assert values(executed.guilty) == [FAIL]


def test_what_loses_the_engine_alone_is_guilty_in_the_end() -> None:
    one = ticket(LOST)
    worker = Worker(Faulty(), OutputCheck(SIGNATURE), COMPOSER, lambda: 0.0)
    for _ in range(LONE_LOSSES - 1):
        assert worker.execute(COMPOSER.arrange([one])).unanswered == [one]
    executed = worker.execute(COMPOSER.arrange([one]))
    assert executed.unanswered == []
    assert executed.guilty == [one]
    ((_, error),) = executed.results
    assert isinstance(error, EngineFailedError)
    assert not error.retryable


def test_an_engine_that_was_lost_before_it_got_the_batch_blames_nobody() -> None:
    class Gone(Faulty):
        def run(self, batch: Batch) -> Outputs:
            raise EngineLostError("killed", idle=True)

    one = ticket(1.0)
    for _ in range(LONE_LOSSES + 1):
        assert execute_one(one, Gone()).unanswered == [one]
    assert not one.suspect


def execute_one(one: Ticket, engine: Faulty) -> Executed:
    return Worker(engine, OutputCheck(SIGNATURE), COMPOSER, lambda: 0.0).execute(COMPOSER.arrange([one]))
