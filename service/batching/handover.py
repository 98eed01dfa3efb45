"""Where the event loop hands tickets to the threads of the engine instances. Everything here is behind one lock."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock

from service.batching.batcher import Batcher, Taken
from service.batching.compose import Composition
from service.batching.ticket import Ticket
from service.batching.worker import Clock, Executed, not_composed
from service.cores import CoreBudget
from service.errors import BatchyardError, DeadlineExceededError, EngineFailedError, ModelUnavailableError
from service.types import Prediction, Tenant

LOGGER = logging.getLogger("batchyard.batching")

HANG = 30.0
"""Seconds that all instances run longer than predicted before the model counts as hung: no shape that was never seen
before, and no machine that is busy with others, takes so long."""
_LAST_PAUSE = 0.1
"""Seconds between attempts to open an engine that what waits still needs while the model is closing."""

RETRY_AFTER = 1.0
"""Seconds after which a caller may come back to a model whose engine is being opened anew: about what that takes."""

Fail = Callable[[Sequence[Ticket], Callable[[], BatchyardError]], None]
"""Ends each ticket with an error of its own, on the event loop."""


class Handover:
    """The queue of one model and its instances. `threads`: cores that one batch takes. `fail` must not block."""

    def __init__(
        self, name: str, batcher: Batcher, cores: CoreBudget, threads: int, clock: Clock, instances: int, fail: Fail
    ) -> None:
        self._name = name
        self._batcher = batcher
        self._cores = cores
        self._threads = threads
        self._clock = clock
        self._fail = fail
        self._lock = Lock()
        self._wakes: list[SimpleQueue[None]] = [SimpleQueue() for _ in range(instances)]
        self._idle: list[int] = []
        self._held: dict[int, Composition] = {}
        self._closing = Event()
        self._over = Event()
        self._said = ""

    def __len__(self) -> int:
        return len(self._batcher)

    @property
    def fault(self) -> str:
        """Why no instance can answer; "" if one can."""
        if self._closing.is_set():
            return "it is being unloaded"
        forecast = self._batcher.forecast
        if forecast.free:
            return ""
        if not forecast.instances:
            return f"its engine was lost and is being opened anew: {self._said}"
        overdue = forecast.overdue(self._clock())
        return f"its engines have made no progress for {overdue:.0f} s" if overdue > HANG else ""

    def predict(self, cost: int, deadline: float, now: float, tenant: Tenant) -> Prediction:
        """See `Batcher.predict`."""
        with self._lock:
            return self._batcher.predict(cost, deadline, now, tenant)

    def submit(self, tickets: Sequence[Ticket], now: float) -> None:
        """Queues the parts of a request and wakes who can run them; raises what `Batcher.submit` does."""
        with self._lock:
            if fault := self.fault:
                again = 0.0 if self._closing.is_set() else RETRY_AFTER
                raise ModelUnavailableError(f"model {self._name} cannot answer: {fault}", again)
            self._batcher.submit(tickets, now)
            self._wake(len(tickets))

    def _wake(self, count: int) -> None:
        for number in self._idle[-count:]:
            self._wakes[number].put(None)
        del self._idle[-count:]

    def next(self, number: int) -> Taken:
        """Blocks until there is a batch and the cores to run it; no batch: the model is closed and nothing waits."""
        while True:
            self._cores.acquire(self._threads)
            with self._lock:
                taken = self._take(number)
                ends = taken.batch is None and taken.again is None and self._closing.is_set()
                if taken.batch is not None:
                    self._held[number] = taken.batch
                elif not ends:
                    self._idle.append(number)
            if taken.expired:
                self._fail(taken.expired, partial(DeadlineExceededError, "the deadline passed in the queue"))
            if taken.batch is not None:
                return taken
            self._cores.release(self._threads)
            if ends:
                return taken
            self._sleep(number, taken.again)

    def _take(self, number: int) -> Taken:
        """The next batch. A request that cannot be composed fails alone: the thread goes on."""
        now = self._clock()
        try:
            return self._batcher.take(number, now)
        except Exception as error:
            LOGGER.exception("composing a batch of %s failed", self._name)
            self._fail(self._batcher.blame(now), partial(EngineFailedError, not_composed(error)))
            return Taken(again=now)

    def _sleep(self, number: int, until: float | None) -> None:
        """Waits to be woken by a submit, which takes the instance out of `_idle`, or until the time is there."""
        wake = self._wakes[number]
        try:
            wake.get(timeout=None if until is None else max(0.0, until - self._clock()))
        except Empty:
            with self._lock:
                if number in self._idle:
                    self._idle.remove(number)
                else:
                    wake.get()

    def finished(self, number: int, executed: Executed) -> None:
        """An instance ran its batch, or lost its engine over it: what is unanswered then waits again."""
        self._cores.release(self._threads)
        with self._lock:
            del self._held[number]
            now = self._clock()
            seconds = None if executed.failed else executed.seconds
            self._batcher.finished(number, executed.batch, seconds, now)
            if executed.too_large:
                self._batcher.too_large(executed.too_large, now)
            if executed.lost:
                self._said = str(executed.lost)
                self._batcher.lost(number, executed.unanswered)
                self._wake(len(executed.unanswered))

    def again(self, tickets: Sequence[Ticket]) -> None:
        """Tickets that an instance took, and whose engine was lost later, wait again."""
        with self._lock:
            closing = self._closing.is_set()
            if not closing:
                self._batcher.again(tickets)
                self._wake(len(tickets))
        if closing:
            self._fail(tickets, partial(ModelUnavailableError, f"model {self._name} was unloaded before the answer"))

    def not_reopened(self, error: Exception) -> None:
        """An engine could not be opened anew. Where none serves, what waits is better tried elsewhere."""
        with self._lock:
            self._said = str(error)
            left = [] if self._batcher.forecast.instances else self._batcher.close()
        if left:
            message = f"model {self._name} cannot answer: its engine was lost and cannot be opened anew: {error}"
            self._fail(left, partial(ModelUnavailableError, message, RETRY_AFTER))

    def reopened(self, number: int) -> None:
        """An instance has an engine again."""
        with self._lock:
            self._batcher.reopened(number)

    def unwanted(self, seconds: float) -> bool:
        """Waits, for another attempt to open an engine; True where nobody wants it any more."""
        if not self._closing.wait(seconds):
            return False
        return not len(self._batcher) or self._over.wait(min(seconds, _LAST_PAUSE))

    def close(self) -> None:
        """Takes nothing more; the instances go on until nothing waits."""
        with self._lock:
            self._closing.set()
            self._batcher.hurry()
            self._idle.clear()
            for wake in self._wakes:
                wake.put(None)

    def end(self) -> list[Ticket]:
        """Gives up what still waits or runs, and returns it."""
        self._over.set()
        with self._lock:
            return [*self._batcher.close(), *(ticket for batch in self._held.values() for ticket in batch.tickets)]
