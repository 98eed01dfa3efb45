"""The thread of a generator: takes what it is told between steps, and steps while anything runs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from engines.errors import EngineError, InvalidInputError
from engines.text_generator import RequestId, TextGenerator, TokenEvent
from service.cores import CoreBudget
from service.generation.ticket import Ticket
from service.owner import Owned

LOGGER = logging.getLogger("batchyard.generation")


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step brought these events. `fresh`: a new prompt was in it."""

    events: Sequence[tuple[Ticket, TokenEvent]]
    seconds: float
    fresh: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The engine did not take a ticket."""

    ticket: Ticket
    error: Exception


@dataclass(frozen=True, slots=True)
class Broken:
    """The engine broke while these were running; they are in it no more. Another is being opened."""

    tickets: Sequence[Ticket]
    error: Exception


@dataclass(frozen=True, slots=True)
class Reopened:
    """Another engine is ready."""


@dataclass(frozen=True, slots=True)
class Lost:
    """No other engine could be opened; nothing runs any more."""

    error: Exception


Report = Stepped | Refused | Broken | Reopened | Lost
_Command = Callable[[], bool]
"""Done between steps; False ends the thread's work."""


class Worker:
    """Runs a generator on the thread that owns it. `tell` is called on that thread and must not block.

    `threads`: CPU cores that a step takes from `cores`, 0 where another device computes.
    """

    def __init__(
        self,
        owned: Owned[TextGenerator],
        reopen: Callable[[], TextGenerator],
        cores: CoreBudget,
        threads: int,
        clock: Callable[[], float],
        tell: Callable[[Report], None],
    ) -> None:
        self._owner = owned.owner
        self._generator: TextGenerator | None = owned.engine
        self._reopen = reopen
        self._cores = cores
        self._threads = threads
        self._clock = clock
        self._tell = tell
        self._commands: SimpleQueue[_Command] = SimpleQueue()
        self._ids: dict[Ticket, RequestId] = {}
        self._tickets: dict[RequestId, Ticket] = {}
        self._fresh = False

    def start(self) -> None:
        """Starts to work; the owner's thread ends with it."""
        self._owner.start(self._run)

    def add(self, ticket: Ticket) -> None:
        """Gives a ticket to the engine before its next step."""
        self._commands.put(lambda: self._add(ticket))

    def cancel(self, ticket: Ticket) -> None:
        """Takes a ticket from the engine before its next step."""
        self._commands.put(lambda: self._cancel(ticket))

    def stop(self) -> None:
        """Ends the work after the step that runs, and closes the engine."""
        self._commands.put(lambda: False)

    def join(self, timeout: float) -> None:
        """Waits at most `timeout` seconds for the end."""
        self._owner.join(timeout)

    def _run(self) -> None:
        while self._obey():
            self._step()
        if self._generator is not None:
            self._generator.close()

    def _obey(self) -> bool:
        """Does all commands that are there, waiting for one where nothing runs."""
        try:
            while True:
                if not self._commands.get(block=not self._tickets)():
                    return False
        except Empty:
            return True

    def _add(self, ticket: Ticket) -> bool:
        if self._generator is None:
            return True
        try:
            request_id = self._generator.add(ticket.resumed())
        except InvalidInputError as error:
            self._tell(Refused(ticket, error))
        except Exception as error:
            self._break(error, [ticket])
        else:
            self._ids[ticket] = request_id
            self._tickets[request_id] = ticket
            self._fresh = True
        return True

    def _cancel(self, ticket: Ticket) -> bool:
        request_id = self._ids.pop(ticket, None)
        if request_id is not None and self._generator is not None:
            del self._tickets[request_id]
            self._generator.cancel(request_id)
        return True

    def _step(self) -> None:
        if self._generator is None or not self._tickets:
            return
        fresh, self._fresh = self._fresh, False
        try:
            with self._cores.taken(self._threads):
                start = self._clock()
                events = self._generator.step()
                seconds = self._clock() - start
        except Exception as error:
            self._break(error, [])
            return
        found = [(self._tickets[event.request_id], event) for event in events if event.request_id in self._tickets]
        for ticket, event in found:
            if event.finish:
                del self._tickets[event.request_id], self._ids[ticket]
        self._tell(Stepped(found, seconds, fresh))

    def _break(self, error: Exception, more: Sequence[Ticket]) -> None:
        """Gives up the engine and what is in it, and opens another."""
        level = logging.WARNING if isinstance(error, EngineError) else logging.ERROR
        LOGGER.log(level, "a generator broke and is opened anew: %s", error, exc_info=level == logging.ERROR)
        lost = [*self._tickets.values(), *more]
        self._tickets.clear()
        self._ids.clear()
        self._tell(Broken(lost, error))
        try:
            if self._generator is not None:
                self._generator.close()
            self._generator = self._reopen()
        except Exception as failure:
            LOGGER.error("a generator could not be opened anew: %s", failure)
            self._generator = None
            self._tell(Lost(failure))
        else:
            self._tell(Reopened())
