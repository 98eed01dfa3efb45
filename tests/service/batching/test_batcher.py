from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from engines.model_config import DynamicBatching, Packing, QueuePolicy
from service.batching.batcher import PROBE, Batcher
from service.batching.compose import Composition, SingleComposer
from service.batching.cost import CostModel, Shape
from service.batching.levels import PATIENCE
from service.batching.pack import PackComposer
from service.batching.prediction import OVERHEAD
from service.batching.ticket import Ticket
from service.errors import DeadlineHopelessError, InvalidRequestError, QueueFullError
from service.types import AGING, Prediction
from tests.service.batching.conftest import Submit, make_tickets

PACKING = Packing((16, 32, 64), 128)


def seconds(slots: int) -> float:
    return 0.010 + 50e-6 * slots


SPREAD = 1.5
"""The p95 over the mean before anything was answered."""
INF = float("inf")


def make(settings: DynamicBatching | None = None, max_queue: int = 100, instances: int = 1) -> Batcher:
    cost = CostModel()
    for width in PACKING.widths:
        for rows in PACKING.row_counts(width):
            cost.record(Shape(rows, width), seconds(rows * width))
    return Batcher(PackComposer(PACKING), cost, max_queue, instances, settings)


def take(batcher: Batcher, now: float) -> list[Ticket]:
    batch = batcher.take(0, now).batch
    assert batch is not None
    batcher.finished(0, batch, None, now)
    return list(batch.tickets)


def test_an_empty_queue_gives_nothing_and_asks_for_no_timer() -> None:
    taken = make().take(0, 0.0)
    assert taken.batch is None
    assert taken.again is None


def test_what_waits_is_taken_at_once_and_only_once(submit: Submit) -> None:
    batcher = make()
    tickets = submit(batcher, [10, 10, 10])
    assert set(map(id, take(batcher, 0.0))) == set(map(id, tickets))
    assert batcher.take(0, 0.0).batch is None


def test_cancelled_tickets_cost_no_compute(submit: Submit) -> None:
    batcher = make()
    gone, kept = submit(batcher, [10, 11])
    assert isinstance(gone.waiting.future, Future)
    gone.waiting.future.cancel()
    assert take(batcher, 0.0) == [kept]


def test_a_near_deadline_overtakes(submit: Submit) -> None:
    batcher = make()
    submit(batcher, [60, 60, 60])
    (urgent,) = submit(batcher, [60], now=0.01, deadline=0.5)
    assert take(batcher, 0.01)[0] is urgent


def test_no_ticket_starves_under_a_stream_of_urgent_ones(submit: Submit) -> None:
    batcher = make()
    (old,) = submit(batcher, [64])
    now = 0.0
    while True:
        now += 0.05
        submit(batcher, [64, 64, 64], now=now, deadline=now + 0.5)
        if old in take(batcher, now):
            break
        assert now < PATIENCE + 0.5


def test_priorities_are_strict_until_they_age(submit: Submit) -> None:
    batcher = make(DynamicBatching(priority_levels=2, default_priority_level=2))
    (low,) = submit(batcher, [64])
    (high,) = submit(batcher, [64], now=1.0, priority=1)
    (late,) = submit(batcher, [64], now=AGING + 1.0, priority=1)
    assert take(batcher, 6.0)[:2] == [high, low]
    assert take(batcher, 6.0) == [late]


def test_a_full_queue_refuses_with_the_time_to_come_back(submit: Submit) -> None:
    batcher = make(max_queue=3)
    submit(batcher, [64, 64, 64])
    with pytest.raises(QueueFullError, match="3 parts wait, 3 may") as refused:
        submit(batcher, [64])
    assert 0 < refused.value.retry_after < 0.1


def test_cancelled_tickets_make_room(submit: Submit) -> None:
    batcher = make(max_queue=2)
    for ticket in submit(batcher, [10, 10]):
        assert isinstance(ticket.waiting.future, Future)
        ticket.waiting.future.cancel()
    submit(batcher, [10, 10])
    assert len(batcher) == 2


def test_a_hopeless_deadline_is_refused_at_once_with_the_time_that_has_to_drain(submit: Submit) -> None:
    batcher = make()
    submit(batcher, [64] * 20, deadline=0.25)
    finish = 10 * seconds(128) + seconds(128) + OVERHEAD
    with pytest.raises(DeadlineHopelessError, match=f"predicted in {1000 * finish:.0f} ms") as refused:
        submit(batcher, [64], deadline=0.25)
    assert refused.value.retry_after == pytest.approx(finish - 0.25 / SPREAD)
    batcher.submit(make_tickets(batcher, [64], deadline=0.25 + SPREAD * refused.value.retry_after + 1e-9), 0.0)


def test_a_deadline_that_no_queue_explains_comes_back_with_the_next_probe(submit: Submit) -> None:
    batcher = make()
    submit(batcher, [64])
    with pytest.raises(DeadlineHopelessError) as refused:
        submit(batcher, [64], deadline=0.005)
    assert refused.value.retry_after == PROBE


def test_a_deep_queue_refuses_deadlines_of_seconds_too(submit: Submit) -> None:
    batcher = make(max_queue=1000)
    submit(batcher, [64] * 300, deadline=30.0)
    with pytest.raises(DeadlineHopelessError):
        submit(batcher, [64], deadline=1.5)


def test_an_idle_model_lets_one_request_try_what_it_is_not_thought_to_make(submit: Submit) -> None:
    batcher = make()
    (probe,) = submit(batcher, [64], now=5.0, deadline=5.012)
    taken = batcher.take(0, 5.0).batch
    assert taken is not None
    assert list(taken.tickets) == [probe]
    batcher.finished(0, taken, 0.05, 5.05)
    with pytest.raises(DeadlineHopelessError):
        submit(batcher, [64], now=5.1, deadline=5.112)
    submit(batcher, [64], now=5.06 + PROBE, deadline=5.072 + PROBE)


def test_no_engine_stands_idle_for_want_of_certainty(submit: Submit) -> None:
    batcher = make()
    submit(batcher, [64])
    take(batcher, 0.0)
    likely = 1.2 * (seconds(64) + OVERHEAD)
    submit(batcher, [64], now=0.01, deadline=0.01 + likely)
    with pytest.raises(DeadlineHopelessError):
        submit(batcher, [64], now=0.01, deadline=0.01 + likely)


def test_an_urgent_ticket_is_not_refused_for_those_behind_it(submit: Submit) -> None:
    batcher = make()
    submit(batcher, [64] * 20, deadline=30.0)
    submit(batcher, [10], now=0.5, deadline=0.55)


def test_doomed_tickets_are_given_up_before_they_cost_compute(submit: Submit) -> None:
    batcher = make()
    (doomed,) = submit(batcher, [64], deadline=0.021)
    (fine,) = submit(batcher, [64], deadline=10.0)
    taken = batcher.take(0, 0.010)
    assert list(taken.expired) == [doomed]
    assert taken.batch is not None
    assert list(taken.batch.tickets) == [fine]


def test_queue_delay_waits_for_more_but_not_when_full(submit: Submit) -> None:
    batcher = make(DynamicBatching(max_queue_delay_microseconds=5000))
    submit(batcher, [20], now=1.0)
    taken = batcher.take(0, 1.001)
    assert taken.batch is None
    assert taken.again == pytest.approx(1.005)
    submit(batcher, [64, 44], now=1.002)
    assert len(take(batcher, 1.002)) == 3


def test_queue_delay_ends(submit: Submit) -> None:
    batcher = make(DynamicBatching(max_queue_delay_microseconds=5000))
    submit(batcher, [20], now=1.0)
    assert len(take(batcher, 1.0051)) == 1


def test_queue_policy_rejects_after_its_timeout(submit: Submit) -> None:
    batcher = make(DynamicBatching(default_queue_policy=QueuePolicy("REJECT", 10_000)))
    (late,) = submit(batcher, [10])
    assert list(batcher.take(0, 0.011).expired) == [late]


def test_queue_policy_delays_after_its_timeout(submit: Submit) -> None:
    batcher = make(DynamicBatching(default_queue_policy=QueuePolicy("DELAY", 10_000)))
    (late,) = submit(batcher, [64])
    fresh = submit(batcher, [64, 64], now=0.005)
    assert take(batcher, 0.012) == fresh
    assert take(batcher, 0.012) == [late]


def test_queue_policy_bounds_a_level(submit: Submit) -> None:
    settings = DynamicBatching(
        priority_levels=2, default_priority_level=1, priority_queue_policies={2: QueuePolicy(max_queue_size=1)}
    )
    batcher = make(settings)
    submit(batcher, [10], priority=2)
    submit(batcher, [10, 10], priority=1)
    with pytest.raises(QueueFullError, match="1 may"):
        submit(batcher, [10], priority=2)


def test_a_prediction_counts_what_runs_and_waits(submit: Submit) -> None:
    batcher = make()
    alone = seconds(16) + OVERHEAD
    assert batcher.predict(10, INF, 0.0) == Prediction(0.0, pytest.approx(alone), pytest.approx(SPREAD * alone))
    submit(batcher, [64, 64, 64])
    assert batcher.predict(10, INF, 0.0).queue == pytest.approx(seconds(128))
    assert batcher.predict(10, INF, 0.0).seconds == pytest.approx(2 * seconds(128) + OVERHEAD)
    batcher.take(0, 0.0)
    assert batcher.predict(10, INF, 0.004).queue == pytest.approx(seconds(128) - 0.004)


def test_a_prediction_with_a_deadline_counts_only_what_is_due_before_it(submit: Submit) -> None:
    batcher = make()
    submit(batcher, [64] * 10, deadline=0.5)
    assert batcher.predict(10, 0.4, 0.0).queue == 0.0
    assert batcher.predict(10, 0.6, 0.0).queue == pytest.approx(5 * seconds(128))


def test_batches_ahead_are_shared_by_the_instances_that_serve(submit: Submit) -> None:
    batcher = make(instances=2)
    submit(batcher, [64] * 8)
    assert batcher.predict(64, INF, 0.0).queue == pytest.approx(2 * seconds(128))
    batcher.lost(1, ())
    assert batcher.predict(64, INF, 0.0).queue == pytest.approx(4 * seconds(128))
    batcher.reopened(1)
    assert batcher.predict(64, INF, 0.0).queue == pytest.approx(2 * seconds(128))


def test_delayed_tickets_keep_their_order(submit: Submit) -> None:
    settings = DynamicBatching(default_queue_policy=QueuePolicy("DELAY", 10_000))
    batcher = Batcher(SingleComposer(), CostModel(), 100, settings=settings)
    (older,) = submit(batcher, [1])
    (younger,) = submit(batcher, [1], now=0.003)
    fresh = [submit(batcher, [1], now=now)[0] for now in (0.010, 0.012)]
    assert [take(batcher, now) for now in (0.011, 0.014)] == [[younger], [fresh[0]]]
    (late,) = submit(batcher, [1], now=0.015)
    assert [take(batcher, now) for now in (0.016, 0.030, 0.031)] == [[fresh[1]], [older], [late]]


def test_a_priority_that_is_no_level_is_the_default_as_in_triton(submit: Submit) -> None:
    batcher = make(DynamicBatching(priority_levels=2, default_priority_level=1))
    (odd,) = submit(batcher, [64], priority=10**400)
    assert odd.level == 1


def test_more_parts_than_the_queue_ever_holds_are_no_matter_of_waiting() -> None:
    batcher = make(max_queue=3)
    with pytest.raises(InvalidRequestError, match="4 parts, the queue holds 3"):
        batcher.submit(make_tickets(batcher, [10] * 4), 0.0)


def test_more_parts_than_a_level_ever_holds_are_no_matter_of_waiting() -> None:
    batcher = make(DynamicBatching(default_queue_policy=QueuePolicy(max_queue_size=1)))
    with pytest.raises(InvalidRequestError, match="2 parts, the queue holds 1"):
        batcher.submit(make_tickets(batcher, [10] * 2), 0.0)


class Odd(PackComposer):
    """Cannot make a batch of a text of 63 tokens."""

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        if any(ticket.cost == 63 for ticket in waiting):
            raise ValueError("odd")
        return super().compose(waiting, cost, now)


def odd() -> Batcher:
    return Batcher(Odd(PACKING), CostModel(), 100)


def test_what_expires_is_not_lost_where_composing_fails(submit: Submit) -> None:
    batcher = odd()
    (expired,) = submit(batcher, [10], deadline=2.0)
    (guilty,) = submit(batcher, [63])
    with pytest.raises(ValueError, match="odd"):
        batcher.take(0, 3.0)
    assert batcher.blame(3.0) == [guilty]
    assert list(batcher.take(0, 3.0).expired) == [expired]


def test_only_the_ticket_that_cannot_be_composed_is_to_blame(submit: Submit) -> None:
    batcher = odd()
    fine, guilty = submit(batcher, [10, 63])
    assert batcher.blame(0.0) == [guilty]
    assert take(batcher, 0.0) == [fine]


def test_what_fits_no_batch_is_not_queued(submit: Submit) -> None:
    batcher = make()
    with pytest.raises(ValueError, match="empty"):
        submit(batcher, [65])
    assert len(batcher) == 0


def test_who_lost_an_engine_alone_waits_until_all_are_there_again(submit: Submit) -> None:
    batcher = make(instances=2)
    (risky,) = submit(batcher, [64])
    taken = batcher.take(0, 0.0).batch
    assert taken is not None
    risky.losses = risky.lone_losses = 1
    batcher.lost(0, [risky])
    assert batcher.take(1, 0.0).batch is None
    (other,) = submit(batcher, [64])
    assert take_by(batcher, 1) == [other], "the others are served"
    batcher.reopened(0)
    assert take_by(batcher, 1) == [risky]


def test_whose_batch_was_lost_is_tried_at_once(submit: Submit) -> None:
    batcher = make(instances=2)
    mates = submit(batcher, [30, 30])
    assert batcher.take(0, 0.0).batch is not None
    for mate in mates:
        mate.losses = 1
    batcher.lost(0, mates)
    assert sorted(map(id, [*take_by(batcher, 1), *take_by(batcher, 1)])) == sorted(map(id, mates))


def take_by(batcher: Batcher, instance: int) -> list[Ticket]:
    batch = batcher.take(instance, 0.0).batch
    assert batch is not None
    batcher.finished(instance, batch, None, 0.0)
    return list(batch.tickets)
