"""The caller's end of a request that another server answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from engines.errors import (
    EngineBusyError,
    EngineError,
    EngineTimeoutError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
)
from engines.generation import Delta, Event, Usage
from service.errors import (
    BatchyardError,
    CallerGoneError,
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    RetryLaterError,
)
from service.generating import GenerationTiming
from service.timers import FAR, deadline_timer
from service.types import DIRECT, NOT_CACHED, Cached, Routed

Stream = AsyncGenerator[Sequence[Event], None]


class RemoteGeneration:
    """Implements `service.generating.Generation`. The next piece is asked for when it is read, never before.

    Cancelling a reader loses nothing: the piece that it waited for is there for the next. `ended` is told once, when
    no more will be read; `finish` is then to be awaited.
    """

    metadata: Mapping[str, str] = MappingProxyType({})
    routed: Routed = DIRECT
    cached: Cached = NOT_CACHED

    def __init__(
        self,
        answerer: tuple[str, str, str],
        stream: Stream,
        timing: GenerationTiming,
        clock: Callable[[], float],
        ended: Callable[["RemoteGeneration"], None],
    ) -> None:
        self.model, self.version, self.engine = answerer
        self.timing = timing
        self.complete = False
        self.started = clock()
        self._stream = stream
        self._clock = clock
        self._tell_ended = ended
        self._pulling: asyncio.Task[Sequence[Event]] | None = None
        self._first: Sequence[Event] = ()
        self._first_at = 0.0
        self._answers: set[int] = set()
        self._error: BatchyardError | None = None
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    def expire_in(self, seconds: float) -> None:
        """Ends it with `DeadlineExceededError` if it is not complete by then, read or not."""
        self._timer = deadline_timer(asyncio.get_running_loop(), seconds, self._expire, seconds)

    def _expire(self, seconds: float) -> None:
        if seconds <= FAR:
            self.cut(DeadlineExceededError("the deadline passed before the answer was complete"))

    async def begin(self) -> None:
        """Waits for the first events. Raises `EngineError`, or the error that it was cut with; it has ended then."""
        try:
            self._first = await self._piece()
        except BaseException:
            self._end()
            raise

    async def read(self) -> Sequence[Event]:
        """See `Generation`."""
        if self._first:
            first, self._first = self._first, ()
            return first
        if self._error is not None:
            raise self._error
        if self._ended and self._pulling is None:
            return ()
        try:
            return await self._piece()
        except EngineError as error:
            self._error = in_our_words(error)
            self._end()
            raise self._error from error

    def close(self) -> None:
        """See `Generation`."""
        self._first = ()
        if self._pulling is None or self._pulling.done():
            self._end()
        else:
            self.cut(CallerGoneError("the caller closed its answer"))

    def cut(self, error: BatchyardError) -> None:
        """Ends it with an error for whoever reads."""
        if not self._ended:
            self._error = error
            self._end()

    async def finish(self) -> None:
        """Ends the request upstream; where it is complete, lets the connection come to its end, to be used again."""
        if self._pulling is not None:
            await asyncio.wait({self._pulling})
        with suppress(EngineError):
            if self.complete:
                async for _ in self._stream:
                    pass
            await self._stream.aclose()

    async def _piece(self) -> Sequence[Event]:
        """The next events, pulled by a task of their own, which outlives a reader that is cancelled."""
        if self._pulling is None:
            self._pulling = asyncio.create_task(self._pull())
            self._pulling.add_done_callback(_heard)
        pulling = self._pulling
        await asyncio.wait({pulling})
        if self._error is not None:
            raise self._error
        self._pulling = None
        return pulling.result()

    async def _pull(self) -> Sequence[Event]:
        start = self._clock()
        while (events := await anext(self._stream, None)) is not None:
            if events:
                self.timing.engine_seconds += self._clock() - start
                self._note(events)
                return events
        raise ExecutionError("the upstream server's answer ended without its usage")

    def _note(self, events: Sequence[Event]) -> None:
        now = self._clock()
        if not self._first_at:
            self._first_at = now
            self.timing.first_token = self.timing.queue + now - self.started
        self._answers.update(event.index for event in events if isinstance(event, Delta))
        if isinstance(last := events[-1], Usage):
            later = last.completion_tokens - len(self._answers)
            if later > 0:
                self.timing.per_token = (now - self._first_at) / later * len(self._answers)
            self.complete = True
            self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._pulling is not None and not self.complete:
            self._pulling.cancel()
        self._tell_ended(self)


def in_our_words(error: EngineError) -> BatchyardError:
    """An engine's error as callers are told it."""
    match error:
        case InvalidInputError():
            return InvalidRequestError(str(error))
        case EngineBusyError():
            return RetryLaterError(str(error), error.retry_after)
        case EngineUnreachableError():
            return ModelUnavailableError(str(error))
        case EngineTimeoutError():
            return DeadlineExceededError(str(error))
        case _:
            return EngineFailedError(str(error))


def _heard(task: "asyncio.Task[Sequence[Event]]") -> None:
    """Takes the error of a piece that nobody may come to read."""
    if not task.cancelled():
        task.exception()
