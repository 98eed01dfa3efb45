from concurrent.futures import Future

import numpy as np
import pytest

from engines.errors import InvalidOutputError
from engines.model_config import BatchInput, BatchOutput, Packing
from engines.tensor import INT32
from service.batching.batcher import Batcher
from service.batching.compose import SingleComposer, StackComposer
from service.batching.cost import CostModel, Shape
from service.batching.pack import PackComposer
from service.batching.pad import PadComposer
from service.batching.ticket import Answer, Ticket, Waiting
from tests.service.batching.conftest import make_tickets

PACKING = Packing((16, 32, 64, 128, 256), 512)


def measured(seconds_per_slot: float = 50e-6, constant: float = 0.001) -> CostModel:
    cost = CostModel()
    for width in PACKING.widths:
        for rows in PACKING.row_counts(width):
            cost.record(Shape(rows, width), constant + seconds_per_slot * rows * width + 1e-8 * rows * width**2)
    return cost


def texts(costs: list[int], **when: float) -> list[Ticket]:
    return make_tickets(Batcher(PackComposer(PACKING), CostModel(), 1000), costs, **when)


def tensors(shape: tuple[int, ...]) -> Ticket:
    future: Future[list[Answer]] = Future()
    waiting = Waiting(future, [None], 1)
    inputs = {"x": np.zeros(shape, np.float32)}
    return Ticket(waiting, 0, inputs, shape[0], shape[0], 0.0, float("inf"), 1.0, float("inf"))


def test_one_short_text_runs_in_the_smallest_shape() -> None:
    batch = PackComposer(PACKING).compose(texts([12]), measured(), 0.0)
    assert batch.shape == Shape(1, 16)


def test_few_texts_all_go_into_the_cheapest_shape_that_holds_them() -> None:
    batch = PackComposer(PACKING).compose(texts([12, 20, 9, 22]), measured(constant=0.004), 0.0)
    assert len(batch.tickets) == 4
    assert batch.shape.slots == 64


def test_many_texts_fill_a_batch_without_padding() -> None:
    batch = PackComposer(PACKING).compose(texts([7, 9, 11, 13, 15, 17, 21, 31] * 20), measured(), 0.0)
    assert batch.shape.slots == 512
    assert batch.tokens / batch.shape.slots > 0.99


def test_the_layout_follows_the_tickets() -> None:
    batch = PackComposer(PACKING).compose(texts([7, 30, 64, 13, 3, 90] * 12), measured(), 0.0)
    ids = batch.layout.collate([ticket.tensors for ticket in batch.tickets]).inputs
    assert int((ids["segment_ids"] >= 0).sum()) == batch.tokens


def test_the_batch_is_small_enough_for_the_head_to_make_its_deadline() -> None:
    cost = measured()
    waiting = texts([20] * 100, deadline=0.008)
    batch = PackComposer(PACKING).compose(waiting, cost, 0.0)
    assert batch.tickets[0] is waiting[0]
    assert cost.predict(batch.shape) <= 0.008
    assert len(batch.tickets) > 1


def test_a_long_head_gets_a_wide_row() -> None:
    batch = PackComposer(PACKING).compose(texts([200, *[10] * 100]), measured(), 0.0)
    assert batch.shape.width == 256
    assert batch.tokens / batch.shape.slots > 0.95


def test_a_part_of_a_batch_is_laid_out_again() -> None:
    composer = PackComposer(PACKING)
    batch = composer.compose(texts([20] * 60), measured(), 0.0)
    half = composer.arrange(batch.tickets[:7])
    assert list(half.tickets) == list(batch.tickets[:7])


def test_stacking_takes_equal_shapes_in_order() -> None:
    waiting = [tensors((2, 3)), tensors((1, 4)), tensors((3, 3)), tensors((4, 3))]
    batch = StackComposer(8).compose(waiting, CostModel(), 0.0)
    assert list(batch.tickets) == [waiting[0], waiting[2]]


def test_stacking_cuts_to_the_largest_preferred_size_reached() -> None:
    waiting = [tensors((1, 3)) for _ in range(7)]
    batch = StackComposer(16, preferred=(2, 4, 8)).compose(waiting, CostModel(), 0.0)
    assert batch.shape.rows == 4


def test_ragged_inputs_may_differ() -> None:
    waiting = [tensors((1, 3)), tensors((1, 4))]
    batch = StackComposer(8, ragged=frozenset({"x"})).compose(waiting, CostModel(), 0.0)
    assert len(batch.tickets) == 2
    assert batch.layout.collate([t.tensors for t in batch.tickets]).inputs["x"].shape == (7,)


def test_without_batching_each_request_runs_alone() -> None:
    waiting = [tensors((2, 3)), tensors((2, 3))]
    assert len(SingleComposer().compose(waiting, CostModel(), 0.0).tickets) == 1


@pytest.mark.parametrize(("lengths", "wanted"), [([10, 11, 200, 12], {10, 11, 12}), ([200, 10, 190, 11], {200, 190})])
def test_padding_keeps_lengths_alike(lengths: list[int], wanted: set[int]) -> None:
    cost = CostModel()
    for shape in (Shape(1, 16), Shape(4, 16), Shape(1, 200), Shape(4, 200)):
        cost.record(shape, 0.001 + 50e-6 * shape.slots)
    waiting = [tensors((1, length)) for length in lengths]
    for ticket, length in zip(waiting, lengths, strict=True):
        ticket.cost = length
    batch = PadComposer(8, {"x": 0}).compose(waiting, cost, 0.0)
    assert {ticket.cost for ticket in batch.tickets} == wanted
    assert batch.shape.width == max(wanted)


@pytest.mark.parametrize("composer", [StackComposer(8), PadComposer(8, {"x": 0})])
def test_inputs_of_length_0_are_batched_before_anything_is_measured(composer: StackComposer | PadComposer) -> None:
    batch = composer.compose([tensors((1, 0)), tensors((2, 0))], CostModel(), 0.0)
    assert batch.layout.collate([t.tensors for t in batch.tickets]).inputs["x"].shape[1] == 0
    assert batch.tickets[0].rows == 1


def test_a_request_of_a_ragged_model_without_batching_is_laid_out_like_any_other() -> None:
    inputs = (BatchInput("BATCH_ELEMENT_COUNT", "n", INT32, "x"),)
    stacking = StackComposer(
        8, ragged=frozenset("x"), batch_inputs=inputs, batch_outputs=(BatchOutput("y", "x", (-1,)),)
    )
    batch = SingleComposer(8, stacking).compose([tensors((1, 3)), tensors((1, 3))], CostModel(), 0.0)
    collated = batch.layout.collate([ticket.tensors for ticket in batch.tickets])
    assert {name: array.tolist() for name, array in collated.inputs.items()} == {"x": [0.0] * 3, "n": [3]}
    assert batch.layout.split({"y": np.ones(3)})[0]["y"].tolist() == [[1.0] * 3]


def test_an_answer_with_too_few_rows_is_refused_without_batching_too() -> None:
    layout = SingleComposer(8).arrange([tensors((2, 3))]).layout
    with pytest.raises(InvalidOutputError, match="wanted 2 rows"):
        layout.split({"x": np.zeros((1, 3))})
    assert SingleComposer().arrange([tensors((2, 3))]).layout.split({"x": np.zeros(5)})[0]["x"].shape == (5,)


def named(**inputs: np.ndarray) -> Ticket:
    ticket = tensors((1, 1))
    ticket.tensors = inputs
    return ticket


def test_requests_with_and_without_an_optional_input_are_not_mixed() -> None:
    x, y = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    waiting = [named(x=x), named(x=x, y=y), named(x=x)]
    composers = (StackComposer(8), StackComposer(8, ragged=frozenset("xy")), PadComposer(8, {"x": 0, "y": 0}))
    cost = CostModel()
    for rows in (1, 2, 3):
        cost.record(Shape(rows, 3), 0.001)
    for composer in composers:
        assert list(composer.compose(waiting, cost, 0.0).tickets) == [waiting[0], waiting[2]]


def test_padding_does_not_mix_what_differs_in_a_fixed_dimension() -> None:
    waiting = [named(x=np.zeros((1, 3, 2)), y=np.zeros((1, 4))), named(x=np.zeros((1, 3, 5)), y=np.zeros((1, 4)))]
    cost = CostModel()
    for shape in (Shape(1, 3), Shape(2, 3), Shape(1, 4), Shape(2, 4)):
        cost.record(shape, 0.001)
    assert len(PadComposer(8, {"x": 0}).compose(waiting, cost, 0.0).tickets) == 1
    assert len(PadComposer(8, {"y": 0}).compose(waiting, cost, 0.0).tickets) == 1


def test_a_padded_input_may_be_left_out() -> None:
    waiting = [named(y=np.zeros((1, 4), np.float32))]
    batch = PadComposer(8, {"x": 0, "y": 0}).compose(waiting, CostModel(), 0.0)
    assert batch.shape == Shape(1, 4)


def test_an_answer_as_long_as_its_input_is_not_as_long_as_its_batch() -> None:
    waiting = [tensors((2, 3)), tensors((1, 5))]
    batch = PadComposer(8, {"x": 0}, frozenset({"out"})).arrange(waiting)
    ran = batch.layout.collate([ticket.tensors for ticket in waiting]).inputs["x"]
    parts = batch.layout.split({"out": ran, "pooled": ran})
    assert [part["out"].shape for part in parts] == [(2, 3), (1, 5)]
    assert [part["pooled"].shape for part in parts] == [(2, 5), (1, 5)]


def by_rows(width: int = 1) -> CostModel:
    cost = CostModel()
    for rows in range(1, 17):
        cost.record(Shape(rows, width), 0.002 + 0.001 * rows)
    return cost


def due_in(seconds: float, count: int, shape: tuple[int, ...] = (1, 4)) -> list[Ticket]:
    waiting = [tensors(shape) for _ in range(count)]
    waiting[0].deadline = seconds
    return waiting


def test_stacking_keeps_the_deadline_of_the_head() -> None:
    composer = StackComposer(16)
    assert len(composer.compose(due_in(1.0, 16), by_rows(), 0.0).tickets) == 16
    batch = composer.compose(due_in(0.012, 16), by_rows(), 0.0)
    assert 7 <= len(batch.tickets) <= 10
    assert len(composer.compose(due_in(0.001, 16), by_rows(), 0.0).tickets) == 16


def test_padding_keeps_the_deadline_of_the_head() -> None:
    composer = PadComposer(16, {"x": 0})
    assert len(composer.compose(due_in(1.0, 16), by_rows(4), 0.0).tickets) == 16
    assert len(composer.compose(due_in(0.012, 16), by_rows(4), 0.0).tickets) == 10


@pytest.mark.parametrize("composer", [StackComposer(16), PadComposer(16, {"x": 0})])
def test_a_limited_composer_makes_smaller_batches_but_never_none(composer: StackComposer | PadComposer) -> None:
    waiting = [tensors((1, 4)) for _ in range(16)]
    assert len(composer.limited(0.25).compose(waiting, by_rows(), 0.0).tickets) == 4
    assert len(composer.limited(1e-6).compose(waiting, by_rows(), 0.0).tickets) == 1
    large = tensors((8, 4))
    assert list(composer.limited(0.25).compose([large, *waiting], by_rows(), 0.0).tickets) == [large]


def test_a_limited_packing_holds_the_longest_text() -> None:
    waiting = texts([256] * 4)
    composer = PackComposer(PACKING)
    assert len(composer.limited(0.5).compose(waiting, measured(), 0.0).tickets) == 1
    assert len(composer.limited(1e-6).compose(waiting, measured(), 0.0).tickets) == 1
    assert composer.of(1000) == Shape(1, 256)
