"""Which request of which sequence runs where, and when. No clock and no tasks of its own: the time is an argument."""

from collections.abc import Callable
from copy import copy
from heapq import heappop, heappush

from service import triton_words
from service.errors import BatchyardError, InvalidRequestError, QueueFullError, SequenceLostError
from service.sequences.turns import Place, Sequence, Turn

RETRY_AFTER = 1.0
"""Seconds after which to come back to a full queue: nobody knows when the sequences before it will be over."""


class Scheduler:
    """The sequences of one model. `slots`: of each instance. `max_idle`: seconds without a request after which a
    sequence is ended. `max_waiting`: requests that may wait. `usable`: can an instance take new sequences now?
    """

    def __init__(
        self,
        model: str,
        instances: int,
        slots: int,
        max_idle: float,
        max_waiting: int,
        usable: Callable[[int], bool] = lambda instance: True,
    ) -> None:
        self._model = model
        self._free = [list(range(slots)) for _ in range(instances)]
        self._max_idle = max_idle
        self._max_waiting = max_waiting
        self._usable = usable
        self._known: dict[tuple[str, int | str], Sequence] = {}
        self._backlog: dict[Sequence, None] = {}
        self._idle: dict[Sequence, float] = {}
        self._turns = 0
        self._running = 0

    @property
    def waiting(self) -> int:
        """Requests whose turn has not come."""
        return self._turns - self._running

    @property
    def sequences(self) -> tuple[int, int]:
        """Those that have a slot, and those that wait for one."""
        return len(self._known) - len(self._backlog), len(self._backlog)

    @property
    def quiet(self) -> bool:
        """Does nothing wait or run?"""
        return not self._turns

    @property
    def expires(self) -> float | None:
        """When the sequence that is idle for longest will be ended; None where none is idle."""
        first = next(iter(self._idle.values()), None)
        return None if first is None else first + self._max_idle

    def enter(self, turn: Turn) -> Sequence:
        """Queues a request. Raises `InvalidRequestError` for a sequence that was not started, `QueueFullError`."""
        step = turn.step
        key = turn.owner, step.id
        sequence = self._known.get(key)
        if not step.start and (sequence is None or sequence.ended):
            raise self._unknown(step.id)
        if self.waiting >= self._max_waiting and not self._runs_at_once(sequence):
            text = f"the queue is full: {self.waiting} requests of sequences wait, {self._max_waiting} may"
            raise QueueFullError(text, RETRY_AFTER)
        if sequence is None:
            sequence = self._known[key] = Sequence(step.id, turn.owner)
            self._backlog[sequence] = None
        self._idle.pop(sequence, None)
        sequence.turns.append(turn)
        sequence.ended = step.end
        self._turns += 1
        self._fill()
        self._go_on(sequence)
        return sequence

    def _runs_at_once(self, sequence: Sequence | None) -> bool:
        """Needs the next request of this sequence (None: a new one) not wait? Were it refused while others wait for
        slots, those that hold them could not end."""
        return any(self._free) if sequence is None else sequence.place is not None and not sequence.turns

    def done(self, sequence: Sequence, turn: Turn, now: float) -> None:
        """The model has seen the request, and answered it or failed on it: the sequence goes on."""
        self._cut(sequence, turn)
        if turn.step.end and sequence.turns:
            self._free_place(sequence)
            self._backlog[sequence] = None  # what starts anew waits behind those that wait already
        self._settle(sequence, now)

    def refused(self, sequence: Sequence, turn: Turn, error: BatchyardError, now: float) -> None:
        """The model never saw the request, and it may be sent again: those behind it are refused likewise."""
        for other in self._cut_all(sequence, turn, ended=turn.step.start):
            other.fail(copy(error))
        self._settle(sequence, now)

    def lost(self, sequence: Sequence, turn: Turn, now: float) -> None:
        """The request was given up, and nobody knows whether the model saw it: its sequence ends with it."""
        if turn not in sequence.turns:
            return
        for other in self._cut_all(sequence, turn, ended=True):
            other.fail(broken(sequence.id))
        self._settle(sequence, now)

    def expire(self, now: float) -> None:
        """Ends the sequences of which nothing was heard for too long."""
        while (when := self.expires) is not None and when <= now:
            self._forget(next(iter(self._idle)))
        self._fill()

    def hurry(self) -> None:
        """Nothing more will come: sequences that are idle only keep others from their slots."""
        self._max_idle = 0.0

    def give_up(self, error: Callable[[], BatchyardError]) -> None:
        """Ends all that waits."""
        for sequence in self._known.values():
            for turn in sequence.turns[sequence.running :]:
                turn.fail(error())

    def _cut(self, sequence: Sequence, turn: Turn) -> int:
        """Takes out a turn; returns where it stood."""
        place = sequence.turns.index(turn)
        if place == 0 and sequence.running:
            sequence.running = False
            self._running -= 1
        del sequence.turns[place]
        self._turns -= 1
        return place

    def _cut_all(self, sequence: Sequence, turn: Turn, ended: bool) -> list[Turn]:
        """Takes out a turn and those that go on from what it leaves, which are returned: all up to the next that starts
        anew. `ended`: where there is none, only such a one may follow."""
        place = self._cut(sequence, turn)
        turns = sequence.turns
        until = next((i for i in range(place, len(turns)) if turns[i].step.start), len(turns))
        if until == len(turns):
            sequence.ended = ended
        cut = turns[place:until]
        del turns[place:until]
        self._turns -= len(cut)
        return cut

    def _settle(self, sequence: Sequence, now: float) -> None:
        """After a turn is over."""
        if sequence.turns:
            self._fill()
            self._go_on(sequence)
        elif sequence.ended:
            self._forget(sequence)
            self._fill()
        else:
            self._idle[sequence] = now

    def _fill(self) -> None:
        """Gives free slots to the sequences that wait for one, in the order they came."""
        while self._backlog and (place := self._take_place()) is not None:
            sequence = next(iter(self._backlog))
            del self._backlog[sequence]
            sequence.place = place
            self._go_on(sequence)

    def _go_on(self, sequence: Sequence) -> None:
        if sequence.place is None or not sequence.turns:
            return
        turn = sequence.turns[0]
        if not turn.future.done():  # else it runs already, or its caller left, and will say so
            sequence.running = True
            self._running += 1
            turn.future.set_result(sequence.place)

    def _take_place(self) -> Place | None:
        """The lowest free slot, so that batches of slots have few empty rows."""
        free = [(slots[0], number) for number, slots in enumerate(self._free) if slots]
        if not free:
            return None
        _, instance = min([pair for pair in free if self._usable(pair[1])] or free)
        return Place(instance, heappop(self._free[instance]))

    def _free_place(self, sequence: Sequence) -> None:
        if sequence.place is not None:
            heappush(self._free[sequence.place.instance], sequence.place.slot)
            sequence.place = None

    def _forget(self, sequence: Sequence) -> None:
        self._free_place(sequence)
        self._backlog.pop(sequence, None)
        self._idle.pop(sequence, None)
        del self._known[sequence.owner, sequence.id]

    def _unknown(self, name: int | str) -> InvalidRequestError:
        return InvalidRequestError(
            f"sequence {name!r} of model {self._model!r} is unknown: its first request says sequence_start, and it is "
            f"forgotten after its last one, or {self._max_idle:g} s without any; start it again",
            "sequence_start",
        ).as_triton(triton_words.without_start(self._model, name))


def broken(name: int | str) -> SequenceLostError:
    """What those are told that would go on from a request that was given up."""
    return SequenceLostError(
        f"sequence {name!r} is over: a request before this one was given up; start it again", "sequence_start"
    ).as_triton("timeout of the corresponding sequence has been expired")
