"""Tells of the end of a request with any number of answers."""

from collections.abc import Callable

from service.types import InferResponse, Responses


class TracedResponses:
    """A `service.types.Responses` that passes another on. `ended`: told once, with the last answer where all were
    read."""

    def __init__(self, inner: Responses, ended: Callable[[InferResponse | None], None]) -> None:
        self._inner = inner
        self._ended = ended
        self._last: InferResponse | None = None
        self._over = False

    async def read(self) -> InferResponse | None:
        """See `Responses`."""
        try:
            response = await self._inner.read()
        except BaseException:
            self._end(None)
            raise
        self._last = response or self._last
        if response is None or response.final:
            self._end(self._last)
        return response

    def close(self) -> None:
        """See `Responses`."""
        self._inner.close()
        self._end(None)

    def _end(self, response: InferResponse | None) -> None:
        if not self._over:
            self._over = True
            self._ended(response)
