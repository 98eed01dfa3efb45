"""Composing batches of sequences that each keep their row."""

from concurrent.futures import Future

import numpy as np

from engines.model_config import DynamicBatching
from service.batching.batcher import Batcher
from service.batching.cost import CostModel, Shape
from service.batching.levels import When
from service.batching.slots import SlotComposer
from service.batching.ticket import Ticket, Waiting


def ticket(batcher: Batcher, slot: int, width: int = 2, now: float = 0.0) -> Ticket:
    waiting = Waiting(Future(), [None], 1, now, slot=slot)
    return batcher.ticket(waiting, 0, {"x": np.full((1, width), slot, np.float32)}, 1, 1, When(now, float("inf")))


def batcher(settings: DynamicBatching | None = None) -> Batcher:
    return Batcher(SlotComposer(8, {"READY": 0}), CostModel(), 100, settings=settings)


def test_the_row_of_a_request_is_its_slot() -> None:
    waiting = batcher()
    tickets = [ticket(waiting, slot) for slot in (5, 0, 2)]
    for one in tickets:
        waiting.submit([one], 0.0)
    batch = waiting.take(0, 0.0).batch
    assert batch is not None
    assert [one.waiting.slot for one in batch.tickets] == [0, 2, 5]
    assert (batch.layout.slots, batch.shape) == (6, Shape(3))
    laid = batch.layout.collate([one.tensors for one in batch.tickets])
    assert laid.inputs["x"][:, 0].tolist() == [0, 0, 2, 0, 0, 5]


def test_a_slot_has_one_request_in_a_batch_and_other_shapes_wait() -> None:
    waiting = batcher()
    first, second, wide, other = (ticket(waiting, slot, width) for slot, width in ((1, 2), (1, 2), (0, 3), (4, 2)))
    for one in (first, second, wide, other):
        waiting.submit([one], 0.0)
    found = []
    for _ in range(3):
        batch = waiting.take(0, 0.0).batch
        assert batch is not None
        waiting.finished(0, batch, 0.001, 0.0)
        found.append(list(batch.tickets))
    assert found == [[first, other], [second], [wide]]
    assert waiting.take(0, 0.0).batch is None


def test_a_batch_waits_until_enough_slots_are_ready_or_the_delay_is_over() -> None:
    settings = DynamicBatching(tuple(range(4, 9)), max_queue_delay_microseconds=50_000)
    waiting = batcher(settings)
    for slot in (7, 0, 3):
        waiting.submit([ticket(waiting, slot)], 0.0)
    assert waiting.take(0, 0.0).again == 0.05
    waiting.submit([ticket(waiting, 1, now=0.01)], 0.01)
    batch = waiting.take(0, 0.01).batch
    assert batch is not None
    assert len(batch.tickets) == 4
    waiting.finished(0, batch, 0.001, 0.02)
    waiting.submit([ticket(waiting, 6, now=0.03)], 0.03)
    assert waiting.take(0, 0.03).batch is None
    assert waiting.take(0, 0.09).batch is not None


def test_less_memory_makes_smaller_batches() -> None:
    assert SlotComposer(8).limited(0.5) == SlotComposer(4)
