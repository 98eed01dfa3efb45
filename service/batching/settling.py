"""What becomes of batches and calls once an engine is done with them: callers are settled, and it is learnt from."""

from collections.abc import Callable, Sequence

from service.batching.calibration import Calibration
from service.batching.faults import Faults
from service.batching.quarantine import Quarantine
from service.batching.record import BatchRecord, record_of
from service.batching.ticket import Answer, Ticket
from service.batching.worker import Clock, Executed, Result
from service.errors import BatchyardError, DeadlineExceededError, EngineFailedError


class Settling:
    """Of one model; used on the event loop only. `name`: model and version. `in_order`: callers are settled in the
    order in which their batches were taken. `observe` is told of every batch."""

    def __init__(
        self,
        name: tuple[str, str],
        calibration: Calibration,
        clock: Clock,
        observe: Callable[[BatchRecord], None],
        *,
        in_order: bool,
    ) -> None:
        self.quarantine = Quarantine()
        self.faults = Faults()
        self._name = name
        self._calibration = calibration
        self._clock = clock
        self._observe = observe
        self._in_order = in_order
        self._answered = 0
        self._settled = 0
        self._early: dict[int, Executed] = {}

    def fail(self, tickets: Sequence[Ticket], error: Callable[[], BatchyardError]) -> None:
        """Ends each ticket with an error of its own."""
        for ticket in tickets:
            if not ticket.gone:
                said = error()
                if isinstance(said, DeadlineExceededError) and ticket.expires == ticket.deadline:
                    self._calibration.given_up(ticket.waiting, ticket.deadline)  # it would not have been there before
                ticket.waiting.fail(said)

    def restarted(self) -> None:
        """An engine was opened anew."""
        self.faults.restarts += 1

    def finished(self, number: int, executed: Executed) -> None:
        """Settles a batch; where the order of arrival is kept, not before those that were taken earlier."""
        if not self._in_order:
            self._settle(executed)
            return
        self._early[number] = executed
        while (earliest := self._early.pop(self._settled, None)) is not None:
            self._settled += 1
            self._settle(earliest)

    def close(self) -> None:
        """Settles what waits for batches that will never end."""
        for number in sorted(self._early):
            self._settle(self._early.pop(number))

    def responded(self, ticket: Ticket, result: Result) -> None:
        """Settles one whose answer came apart from its batch, in no order."""
        now = self._clock()
        if _settled(ticket, result, now):
            self._answered += 1
            self._calibration.answered([ticket.waiting], now)

    def condemn(self, ticket: Ticket, error: EngineFailedError) -> None:
        """Ends one that is at fault, and refuses its row from now on."""
        self.faults.poison += 1
        self.quarantine.refuse(ticket.tensors, str(error), self._clock())
        ticket.waiting.fail(error)

    def _settle(self, executed: Executed) -> None:
        now = self._clock()
        if executed.failed:
            self._learn_faults(executed, now)
        ended = [ticket.waiting for ticket, result in executed.results if _settled(ticket, result, now)]
        self._answered += len(ended)
        if not executed.failed:
            self._calibration.answered(ended, now)
        self._observe(record_of(*self._name, executed))

    def _learn_faults(self, executed: Executed, now: float) -> None:
        """Counts what went wrong, and puts the rows at fault into quarantine."""
        faults = self.faults
        faults.splits += executed.splits
        faults.memory_errors += executed.memory_errors
        for index, (ticket, result) in enumerate(executed.results):
            guilty = ticket in executed.guilty
            if ticket in executed.unclear and self.quarantine.unclear(ticket.tensors, self._answered):
                executed.results[index] = ticket, EngineFailedError(str(result), retryable=False)
                guilty = True
            if guilty:
                faults.poison += 1
                self.quarantine.refuse(ticket.tensors, str(result), now)


def _settled(ticket: Ticket, result: Result, now: float) -> bool:
    """Gives a caller the result; was it the last of its answers?"""
    if isinstance(result, Answer):
        return ticket.waiting.answer(ticket.part, result, now)
    ticket.waiting.fail(result)
    return False
