"""The reader's end of a request that may have any number of answers."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from service.batching.ticket import Answer
from service.errors import DeadlineExceededError, SlowReaderError
from service.timers import deadline_timer
from service.types import InferResponse


class LocalResponses:
    """Implements `service.types.Responses`, and the `Settleable` of its ticket: gathers answers until they are read.

    `buffer`: answers that may wait for a slow reader; beyond, the request ends. `told`: an answer as its reader gets
    it, let go of at the end, since it holds the request, which holds these. Only `done` may be asked by other threads
    than that of the event loop.
    """

    def __init__(self, buffer: int, told: Callable[[Answer], InferResponse]) -> None:
        self._buffer = buffer
        self._told: Callable[[Answer], InferResponse] | None = told
        self._answers: deque[InferResponse] = deque()
        self._error: Exception | None = None
        self._count = 0
        self._reader: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def expire_in(self, seconds: float) -> None:
        """Ends it with `DeadlineExceededError` where the last answer is not there by then."""
        self._timer = deadline_timer(asyncio.get_running_loop(), seconds, self._expire, seconds)

    def _expire(self, seconds: float) -> None:
        so_far = f"{self._count} were" if self._count else "none was"
        text = f"the deadline of {1000 * seconds:.0f} ms passed before the last answer was there; {so_far}"
        self.set_exception(DeadlineExceededError(text))

    async def begin(self) -> None:
        """Waits for the first answer, or for the end without one; raises what ended it before."""
        while not self._answers:
            self._raise_error()
            if self._told is None:
                return
            await self._woken()

    def _raise_error(self) -> None:
        """Once, if there is one: what is raised holds whoever it went through, and so must not be held by these."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error

    async def read(self) -> InferResponse | None:
        """See `Responses`."""
        await self.begin()
        return self._answers.popleft() if self._answers else None

    async def _woken(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def put(self, answer: Answer) -> None:
        """The next answer; what comes after the final one, or after the end, is dropped."""
        if self._told is None:
            return
        self._count += 1
        self._answers.append(self._told(answer))
        if answer.final:
            self._end()
        elif len(self._answers) > self._buffer and self._reader is None:  # one that waits in `read` is not slow
            self.set_exception(SlowReaderError(f"{len(self._answers)} answers wait to be read; read faster"))
        self._wake()

    def close(self) -> None:
        """See `Responses`."""
        self._answers.clear()
        self._end()

    def done(self) -> bool:
        """Does nobody wait for more?"""
        return self._told is None

    def set_result(self, result: Sequence[Answer], /) -> None:
        """The last answers."""
        for answer in result:
            self.put(answer)
        self._end()

    def set_exception(self, exception: Exception, /) -> None:
        """Nothing more comes but this error, behind what is there."""
        if self._told is not None:
            self._error = exception
            self._end()

    def _end(self) -> None:
        self._told = None
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
