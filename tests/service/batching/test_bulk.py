"""Tickets of low urgency, windows of long texts: they give way, and do not starve."""

from concurrent.futures import Future

import pytest

from engines.model_config import Packing
from service.batching.batcher import Batcher, Taken
from service.batching.bulk import AGE, SMALL
from service.batching.cost import CostModel, Shape
from service.batching.levels import When
from service.batching.pack import PackComposer
from service.batching.ticket import Answer, Ticket, Waiting
from tests.service.batching.conftest import Submit, text

PACKING = Packing((16, 64), 512)
INF = float("inf")


def seconds(slots: int) -> float:
    return 0.002 + 0.0002 * slots


def make(instances: int = 1) -> Batcher:
    cost = CostModel()
    for width in PACKING.widths:
        for rows in PACKING.row_counts(width):
            cost.record(Shape(rows, width), seconds(rows * width))
    return Batcher(PackComposer(PACKING), cost, 1000, instances)


def document(batcher: Batcher, windows: int, *, now: float = 0.0, deadline: float = INF) -> list[Ticket]:
    future: Future[list[Answer]] = Future()
    waiting = Waiting(future, [None] * windows, windows, now)
    tickets = [batcher.ticket(waiting, n, text(64), 1, 64, When(now, deadline)) for n in range(windows)]
    for ticket in tickets:
        ticket.bulk = True
    batcher.submit(tickets, now)
    return tickets


def lengths(taken: Taken) -> list[int]:
    return [ticket.cost for ticket in taken.batch.tickets] if taken.batch else []


def test_urgent_tickets_go_before_bulk_ones_that_came_earlier(submit: Submit) -> None:
    batcher = make()
    document(batcher, 8)
    submit(batcher, [10], now=1.0)
    assert lengths(batcher.take(0, 1.0)) == [10]


def test_bulk_batches_are_small_so_that_an_urgent_ticket_waits_little(submit: Submit) -> None:
    batcher = make()
    document(batcher, 20)
    taken = batcher.take(0, 0.0)
    assert taken.batch is not None
    assert 1 <= len(taken.batch.tickets) < 8
    assert seconds(taken.batch.shape.slots) <= SMALL
    (urgent,) = submit(batcher, [10], now=0.001)
    assert urgent.waiting.predicted.queue <= SMALL


def test_what_is_urgent_does_not_count_bulk_as_ahead() -> None:
    batcher = make()
    empty = batcher.predict(10, INF, 0.0)
    document(batcher, 100)
    assert batcher.predict(10, INF, 0.0) == empty


def test_one_instance_is_left_to_what_is_urgent(submit: Submit) -> None:
    batcher = make(instances=2)
    document(batcher, 20)
    first = batcher.take(0, 0.0)
    assert lengths(first)
    idle = batcher.take(1, 0.0)
    assert idle.batch is None
    assert idle.again == AGE
    submit(batcher, [10], now=0.1)
    assert lengths(batcher.take(1, 0.1)) == [10]
    assert first.batch is not None
    batcher.finished(0, first.batch, 0.01, 0.2)
    assert lengths(batcher.take(0, 0.2))


def test_bulk_does_not_starve_under_urgent_load_and_comes_in_pieces(submit: Submit) -> None:
    batcher = make()
    document(batcher, 8)
    now, bulk = 0.0, []
    while sum(bulk) < 8:
        submit(batcher, [64] * 9, now=now, deadline=now + 2.0)
        taken = batcher.take(0, now)
        assert taken.batch is not None
        bulk.append(sum(ticket.bulk for ticket in taken.batch.tickets))
        batcher.finished(0, taken.batch, seconds(512), now)
        now += 0.12
        assert now < AGE + 12.0
    assert not any(bulk[: int(AGE / 0.12)])
    assert max(bulk) <= 2


def test_bulk_gets_what_its_deadline_needs(submit: Submit) -> None:
    batcher = make()
    tickets = document(batcher, 8, deadline=0.5)
    p95 = tickets[0].waiting.predicted.p95
    now = 0.5 - p95
    submit(batcher, [64] * 4, now=now - 0.001, deadline=now + 5.0)
    taken = batcher.take(0, now)
    assert taken.batch is not None
    assert sum(ticket.bulk for ticket in taken.batch.tickets) >= 4


def test_nothing_is_bulk_any_more_where_nothing_else_comes() -> None:
    batcher = make(instances=2)
    document(batcher, 20)
    batcher.hurry()
    assert len(lengths(batcher.take(0, 0.0))) == 8
    assert len(lengths(batcher.take(1, 0.0))) >= 4


def test_a_document_is_predicted_to_wait_for_what_is_before_it(submit: Submit) -> None:
    batcher = make()
    document(batcher, 80)
    submit(batcher, [64] * 80)
    (first, *_) = document(batcher, 8)
    predicted = first.waiting.predicted
    assert predicted.seconds == pytest.approx(168 * 64 / 512 * seconds(512), rel=0.1)
