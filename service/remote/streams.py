"""The answers of one request to another server, as they come."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

from engines.calls import Response
from engines.errors import EngineError, EngineUnreachableError
from service.errors import BatchyardError, CallerGoneError, EngineFailedError
from service.remote.endpoint import Endpoint
from service.remote.words import in_our_words
from service.types import InferResponse

Answers = AsyncGenerator[Response, None]


class RemoteResponses:
    """Implements `service.types.Responses`. An answer is fetched when it is read, but for the `first`.

    `fetch`: the next answer of a server; `make`: an answer in the gateway's words; both raise `EngineError`. `ended` is
    told once.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        answers: Answers,
        first: Response,
        fetch: Callable[[Endpoint, Coroutine[Any, Any, Response]], Awaitable[Response]],
        make: Callable[[Response], InferResponse],
        ended: Callable[["RemoteResponses", Answers], None],
    ) -> None:
        self._endpoint = endpoint
        self._answers = answers
        self._first: Response | None = first
        self._fetch = fetch
        self._make = make
        self._tell_ended = ended
        self._reading = False
        self._ended = False
        self._over = False
        self._error: BatchyardError | None = None

    async def read(self) -> InferResponse | None:
        """See `Responses`."""
        if self._error is not None:
            raise self._error
        if self._over:
            return None
        try:
            response = self._make(await self._next())
        except EngineError as error:
            self._error = self._error or self._lost(error)
            self._end()
            raise self._error from error
        except BaseException:
            self.close()
            raise
        if self._error is not None:
            self._end()
            raise self._error
        if response.final:
            self._over = True
            self._end()
        return response

    async def _next(self) -> Response:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        self._reading = True
        try:
            return await self._fetch(self._endpoint, anext_of(self._answers))
        finally:
            self._reading = False

    def _lost(self, error: EngineError) -> BatchyardError:
        """Once a stream has begun nobody else is asked: the caller would get its beginning twice."""
        if isinstance(error, EngineUnreachableError):
            text = f"{self._endpoint.url} left in the middle of its answers: {error}; ask again"
            return EngineFailedError(text, retryable=False)
        return in_our_words(error, self._endpoint.url)

    def close(self) -> None:
        """See `Responses`."""
        self.cut(self._error or CallerGoneError("the caller closed its answers"))

    def cut(self, error: BatchyardError) -> None:
        """Ends it with an error for whoever reads next, or reads now and is given what it waits for."""
        if not self._ended:
            self._error = error
            self._end()

    def _end(self) -> None:
        """Answers that are being fetched cannot be ended under the reader's hands: that is left to the reader."""
        if not self._ended and not self._reading:
            self._ended = True
            self._first = None
            self._tell_ended(self, self._answers)


async def anext_of(answers: Answers) -> Response:
    """The next answer; a server that says no more has given its final one."""
    return await anext(answers, Response())
