"""Several tenants at one queue, by numbers and on a virtual clock: shares, order, room, predictions, delays."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.batcher import Batcher
from service.batching.company import STAYS
from service.batching.compose import StackComposer
from service.batching.cost import CostModel, Shape
from service.batching.fair_queue import FairQueue, Flow
from service.batching.levels import When
from service.batching.ticket import Answer, Ticket, Waiting
from service.batching.waitlist import Waitlist
from service.errors import DeadlineHopelessError, QueueFullError
from service.fair import VirtualTime, most_held
from service.types import ANYONE, Tenant
from tests.service.batching.simulation import ROWS, TENSORS, Simulation, batch_seconds

A, B, HEAVY = Tenant("a"), Tenant("b"), Tenant("heavy", 3.0)
INF = float("inf")


def made(tenant: Tenant, due: float = 0.0, cost: int = 1) -> Ticket:
    future: Future[list[Answer]] = Future()
    return Ticket(Waiting(future, [None], 1, tenant=tenant), 0, {}, cost, cost, 0.0, INF, due, INF)


def batcher(max_queue: int = 1000) -> Batcher:
    cost = CostModel()
    for rows in (1, 2, 4, 8, ROWS):
        cost.record(Shape(rows), batch_seconds(rows))
    return Batcher(StackComposer(ROWS), cost, max_queue)


def submit(queue: Batcher, tenant: Tenant, count: int = 1, now: float = 0.0, deadline: float = INF) -> list[Ticket]:
    tickets = []
    for _ in range(count):
        future: Future[list[Answer]] = Future()
        waiting = Waiting(future, [None], 1, now, tenant=tenant)
        tickets.append(queue.ticket(waiting, 0, TENSORS, 1, 1, When(now, deadline)))
        queue.submit(tickets[-1:], now)
    return tickets


def names(tickets: Sequence[Ticket]) -> Counter[str]:
    return Counter(ticket.waiting.tenant.name for ticket in tickets)


def take(queue: Batcher, now: float) -> list[Ticket]:
    batch = queue.take(0, now).batch
    assert batch is not None
    queue.finished(0, batch, batch_seconds(batch.shape.rows), now)
    return list(batch.tickets)


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
def test_shares_follow_the_weights(weight: float) -> None:
    """Two that always wait: after 400 tickets each has its share but for one ticket and the batch under way."""
    queue, other = FairQueue(), Tenant("other", weight)
    for number in range(400):
        queue.add(made(A, number))
        queue.add(made(other, number))
    served: Counter[str] = Counter()
    for _ in range(40):
        batch = queue.in_turn(10)[:10]
        served += names(batch)
        queue.remove(batch)
    assert served["other"] / served["a"] == pytest.approx(weight, rel=0.05)


def test_shares_are_of_cost_not_of_tickets() -> None:
    queue = FairQueue()
    for number in range(300):
        queue.add(made(A, number, cost=1))
        queue.add(made(B, number, cost=5))
    served: Counter[str] = Counter()
    for _ in range(300):
        (ticket, *_) = queue.in_turn(1)
        served[ticket.waiting.tenant.name] += ticket.cost
        queue.remove([ticket])
    assert served["b"] / served["a"] == pytest.approx(1.0, rel=0.05)


@given(
    st.lists(st.tuples(st.sampled_from([A, B, HEAVY]), st.integers(1, 9), st.floats(0, 10)), max_size=60),
    st.integers(1, 8),
)
def test_nothing_is_lost_and_each_tenant_keeps_its_order(jobs: list[tuple[Tenant, int, float]], size: int) -> None:
    queue = FairQueue(VirtualTime(20.0))
    tickets = [made(tenant, due, cost) for tenant, cost, due in jobs]
    for ticket in tickets:
        queue.add(ticket)
    taken: list[Ticket] = []
    while len(queue):
        batch = list(queue.in_turn(size))[:size]
        queue.remove(batch)
        taken += batch
        assert len(queue) == len(tickets) - len(taken)
        assert queue.cost == sum(ticket.cost for ticket in tickets) - sum(ticket.cost for ticket in taken)
    assert len(set(map(id, taken))) == len(tickets)
    for tenant in (A, B, HEAVY):
        dues = [ticket.due for ticket in taken if ticket.waiting.tenant is tenant]
        assert dues == sorted(dues)


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 10)), min_size=1, max_size=40), st.floats(0, 10))
def test_one_tenant_is_served_as_where_there_are_none(jobs: list[tuple[int, float]], due: float) -> None:
    queue, plain = FairQueue(), Waitlist()
    for cost, when in jobs:
        ticket = made(A, when, cost)
        queue.add(ticket)
        plain.add(ticket)
    assert queue.in_turn(1) == plain.tickets
    assert queue.ahead(A, due) == (plain.cost_before(due), 0)
    assert queue.first() is plain.tickets[0]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=50), st.integers(1, 9), st.integers(1, 9))
def test_who_comes_anew_waits_for_no_more_than_one_ticket_of_each(flood: list[int], cost: int, size: int) -> None:
    """The bound of start-time fair queueing on the delay of a packet: the longest of every other tenant, whatever its
    backlog; a batch under way counts as the one ticket that it is for the virtual time."""
    queue = FairQueue()
    for number, one in enumerate(flood):
        queue.add(made(A, number, one))
        queue.add(made(HEAVY, number, one))
    queue.remove(list(queue.in_turn(size))[:size])
    newcomer = made(B, 0.0, cost)
    queue.add(newcomer)
    order = list(queue.in_turn(len(queue)))
    assert all(count <= 1 for count in names(order[: order.index(newcomer)]).values())


def test_who_was_modest_may_burst_up_to_its_credit_and_no_further() -> None:
    queue = FairQueue(VirtualTime(10.0))
    for number in range(100):
        queue.add(made(A, number))
    for _ in range(50):
        queue.remove(queue.in_turn(1)[:1])
    for number in range(40):
        queue.add(made(B, number))
    order = names(list(queue.in_turn(40))[:40])
    assert order["b"] - order["a"] == pytest.approx(10, abs=2)


def test_idle_time_saves_nothing_up() -> None:
    queue = FairQueue()
    for number in range(20):
        queue.add(made(A, number))
    queue.remove(queue.in_turn(20)[:20])
    assert len(queue) == 0
    for number in range(10):
        queue.add(made(A, number))
        queue.add(made(B, number))
    assert names(queue.in_turn(10)[:10]) == {"a": 5, "b": 5}


def test_a_flood_leaves_room_for_others_and_throws_nobody_out() -> None:
    queue = batcher(max_queue=100)
    accepted = submit(queue, A, 100)
    with pytest.raises(QueueFullError):
        submit(queue, B)
    taken = take(queue, 0.0)
    with pytest.raises(QueueFullError, match="parts of this tenant wait") as refused:
        submit(queue, A)
    assert refused.value.retry_after > 0
    free = 100 - len(queue)
    submit(queue, B, free // 2)
    waiting = sum(len(one.tickets) for one in queue._urgent.flows.values())
    assert waiting == len(accepted) - len(taken) + free // 2


def test_the_flood_is_held_to_a_multiple_of_what_is_free() -> None:
    queue = batcher(max_queue=100)
    submit(queue, B)
    with pytest.raises(QueueFullError):
        submit(queue, A, 100)
    free = 100 - len(queue)
    assert queue._urgent.held(A) <= most_held(free + 1)
    assert free >= 15
    submit(queue, B, free // 2)


def test_what_nobody_waits_for_takes_no_room_from_its_tenant() -> None:
    queue = batcher(max_queue=100)
    submit(queue, B)
    held = submit(queue, A, 75)
    with pytest.raises(QueueFullError):
        submit(queue, A, 10)
    for ticket in held:
        ticket.waiting.future.cancel()
    submit(queue, A, 10, now=1.0)


def test_a_queue_is_counted_while_another_thread_fills_it() -> None:
    """Metrics count it without the lock: here the other thread comes in the middle of the counting."""
    queue = FairQueue()

    class Busy(list[Ticket]):
        def __len__(self) -> int:
            queue.flows["new"] = Flow([made(B)])
            return super().__len__()

    queue.flows["a"] = Flow(Busy([made(A)]))
    assert len(queue) in (1, 2)


def test_a_single_tenant_has_the_whole_queue() -> None:
    queue = batcher(max_queue=100)
    submit(queue, A, 100)
    assert len(queue) == 100


def test_a_newcomer_is_not_hopeless_because_of_another_tenant() -> None:
    queue = batcher()
    submit(queue, A, 500, now=-1.0)
    with pytest.raises(DeadlineHopelessError):
        submit(queue, A, deadline=0.1)
    (urgent,) = submit(queue, B, deadline=0.1)
    assert urgent.waiting.predicted.p95 < 0.1
    assert urgent in take(queue, 0.0)
    assert queue.predict(1, INF, 0.0, B).seconds < 0.1 < queue.predict(1, INF, 0.0, A).seconds


def test_its_own_backlog_and_a_fair_part_of_the_others_is_ahead() -> None:
    queue = FairQueue()
    for number in range(30):
        queue.add(made(A, number))
    for number in range(10):
        queue.add(made(B, number))
    queue.add(made(HEAVY, 0.0, cost=3))
    assert queue.ahead(B, INF) == (10 + 10 + 3, 20)
    assert queue.ahead(A, INF) == (30 + 10 + 3, 0)


def test_batches_are_smaller_while_another_tenant_is_there() -> None:
    queue = batcher()
    submit(queue, A, 200)
    assert len(take(queue, 0.0)) == ROWS
    submit(queue, B, now=1.0)
    take(queue, 1.0)
    few = len(take(queue, 1.0))
    assert 1 < few < ROWS
    assert few / batch_seconds(few) >= 0.6 * ROWS / batch_seconds(ROWS)
    assert len(take(queue, 1.0 + STAYS / 2)) == few
    assert len(take(queue, 1.1 + STAYS)) == ROWS


def test_bulk_of_several_tenants_takes_turns() -> None:
    queue = batcher()
    for tenant in (A, B):
        for _ in range(30):
            future: Future[list[Answer]] = Future()
            ticket = queue.ticket(Waiting(future, [None], 1, tenant=tenant), 0, TENSORS, 1, 1, When(0.0, INF))
            ticket.bulk = True
            queue.submit([ticket], 0.0)
    taken = names(take(queue, 0.1))
    assert abs(taken["a"] - taken["b"]) <= 1


def p99(outcomes: Simulation, since: float) -> float:
    found = [one.answered - one.arrival for one in outcomes.of[B.name] if one.answered and one.arrival > since]
    return float(np.percentile(found, 99))


def test_a_flood_does_not_delay_another() -> None:
    """B at half of its share, alone and beside A at four times its share; batches take noisy times."""
    peak = ROWS / batch_seconds(ROWS)
    seconds = 12.0

    def spread(_: float, dice: Random) -> float:
        return dice.lognormvariate(0.0, 0.2)

    alone = Simulation(lambda _: 0.25 * peak, lambda _: INF, spread, seed=3, tenant=B)
    alone.run(seconds)
    beside = Simulation(lambda _: 0.25 * peak, lambda _: INF, spread, seed=3, tenant=B)
    beside.also(A, lambda _: 2.0 * peak)
    beside.run(seconds)
    assert not [one for one in beside.of[B.name] if not one.accepted]
    assert p99(beside, 5.0) <= 1.5 * p99(alone, 5.0)
    answered = sum(one.answered is not None for one in beside.outcomes)
    assert answered / seconds > 0.55 * peak


def test_nobody_is_told_apart_where_there_are_no_tenants() -> None:
    queue = batcher()
    submit(queue, ANYONE, 50)
    assert not queue._company.several
    assert list(queue._urgent.flows) == [""]
