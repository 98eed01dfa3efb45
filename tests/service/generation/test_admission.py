"""Admission with numbers: no clock, no engine."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.generation import Event
from engines.text_generator import GenerationRequest, GeneratorLimits, Sampling
from service.generation.admission import Admission
from service.generation.ticket import Ticket
from service.types import ANYONE, Tenant


class Nobody:
    """Takes what comes."""

    def started(self, now: float) -> None: ...

    def put(self, events: list[Event], tokens: int, cached_tokens: int, now: float) -> None: ...

    def finished(self) -> None: ...

    def fail(self, error: Exception) -> None: ...


def ticket(due: float, prompt: int = 10, answer: int = 10, suspect: bool = False, tenant: Tenant = ANYONE) -> Ticket:
    request = GenerationRequest(np.zeros(prompt, np.int64), Sampling(answer))
    return Ticket(Nobody(), request, None, due, suspect=suspect, tenant=tenant)  # type: ignore[arg-type]


def admission(kv_tokens: int = 1000, sequences: int = 3, max_waiting: int = 4, block: int = 1) -> Admission:
    return Admission(GeneratorLimits(1000, kv_tokens, sequences, block), max_waiting)


def test_the_earliest_due_go_first() -> None:
    queue = admission(sequences=2)
    late, early, middle = ticket(3), ticket(1), ticket(2)
    for one in (late, early, middle):
        queue.wait(one)
    assert queue.take() == [early, middle]
    assert queue.take() == []
    queue.release(early)
    assert queue.take() == [late]


def test_the_cache_is_never_promised_twice() -> None:
    queue = admission(kv_tokens=50)
    first, second, third = ticket(1), ticket(2), ticket(3)
    for one in (first, second, third):
        queue.wait(one)
    assert queue.take() == [first, second]
    queue.release(first)
    assert queue.take() == [third]


def test_tokens_are_counted_in_whole_blocks() -> None:
    queue = admission(kv_tokens=63, block=32)
    queue.wait(ticket(1, prompt=1, answer=1))
    queue.wait(ticket(2, prompt=1, answer=1))
    assert len(queue.take()) == 1


def test_a_small_ticket_does_not_overtake_a_large_one_that_is_due_before_it() -> None:
    queue = admission(kv_tokens=100)
    running, large, small = ticket(1, 30, 30), ticket(2, 30, 30), ticket(3, 5, 5)
    for one in (running, large, small):
        queue.wait(one)
    assert queue.take() == [running]
    queue.release(running)
    assert queue.take() == [large, small]


def test_one_that_fills_the_whole_cache_runs_alone() -> None:
    queue = admission(kv_tokens=100)
    queue.wait(ticket(1, 100, 100))
    assert len(queue.take()) == 1


def test_suspects_run_one_at_a_time() -> None:
    queue = admission()
    first, second = ticket(1, suspect=True), ticket(2, suspect=True)
    queue.wait(first)
    queue.wait(second)
    assert queue.take() == [first]
    assert queue.take() == []
    first.suspect = False
    assert queue.take() == [second]


def test_room_is_places_and_queue_together() -> None:
    queue = admission(sequences=2, max_waiting=3)
    assert queue.has_room(5)
    assert not queue.has_room(6)
    assert not queue.could_hold(6)
    for due in range(4):
        queue.wait(ticket(due))
    queue.take()
    assert queue.has_room(1)
    assert not queue.has_room(2)


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.integers(1, 60), st.integers(1, 60), st.booleans()), min_size=1, max_size=40
    ),
    st.data(),
)
def test_whatever_comes_the_limits_hold_and_nobody_is_lost(
    wanted: list[tuple[float, int, int, bool]], data: st.DataObject
) -> None:
    queue = admission(kv_tokens=200, sequences=4, block=16)
    left = [ticket(due, prompt, answer, suspect) for due, prompt, answer, suspect in wanted]
    tickets = list(left)
    ran: list[Ticket] = []
    running: list[Ticket] = []
    while left or running or queue.waiting:
        if left:
            queue.wait(left.pop())
        taken = queue.take()
        ran += taken
        running += taken
        assert len(running) <= 4
        assert sum(-(-one.reserved // 16) * 16 for one in running) <= 200 or len(running) == 1
        assert sum(one.suspect for one in running) <= 1
        if running and (not left or data.draw(st.booleans())):
            done = running.pop(data.draw(st.integers(0, len(running) - 1)))
            assert queue.release(done)
    assert sorted(map(id, ran)) == sorted(map(id, tickets))


A, B = Tenant("a"), Tenant("b", 2.0)


def test_tenants_take_turns_by_tokens_and_weight() -> None:
    """Two of ten tokens of `b`, which weighs twice as much, to one of `a`."""
    queue = admission(sequences=1, max_waiting=99)
    for number in range(12):
        queue.wait(ticket(number, tenant=A))
    for number in range(12):
        queue.wait(ticket(100 + number, tenant=B))
    order = []
    for _ in range(12):
        (taken,) = queue.take()
        order.append(taken)
        queue.release(taken)
    assert [one.tenant.name for one in order].count("b") == 8
    for tenant in (A, B):
        dues = [one.due for one in order if one.tenant is tenant]
        assert dues == sorted(dues)


def test_a_newcomer_waits_for_its_own_and_a_fair_part_of_the_others() -> None:
    queue = admission(sequences=1, max_waiting=99)
    for number in range(30):
        queue.wait(ticket(number, tenant=A))
    queue.take()
    assert (queue.ahead(A), queue.ahead(Tenant("new"))) == (29, 0)
    queue.wait(ticket(99, tenant=B))
    assert queue.ahead(B) == 1


def test_a_flood_leaves_places_in_the_queue_for_others() -> None:
    queue = admission(sequences=1, max_waiting=20)
    queue.wait(ticket(0, tenant=A))
    running = queue.take()
    assert queue.has_room(20, A), "there is no other yet"
    for number in range(18):
        queue.wait(ticket(number, tenant=A))
    assert queue.has_room(1, B)
    assert not queue.has_room(1, A), "18 are more than four times the 2 that are free"
    assert queue.has_room(2, B)
    assert not queue.has_room(3, B)
    assert queue.release(running[0])
