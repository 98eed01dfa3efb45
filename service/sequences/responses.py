"""The answers of one request of a sequence, as they come."""

from collections.abc import Callable

from service.errors import BatchyardError
from service.types import InferResponse, Responses


class StepResponses:
    """Implements `service.types.Responses`. `take` sees each answer first; `end` hears once how it ended: None is well,
    or that the reader left."""

    def __init__(
        self,
        inner: Responses,
        take: Callable[[InferResponse], None],
        end: Callable[[BatchyardError | None], None],
    ) -> None:
        self._inner = inner
        self._take = take
        self._end = end
        self._over = False

    async def read(self) -> InferResponse | None:
        try:
            response = await self._inner.read()
            if response is not None:
                self._take(response)
        except BatchyardError as error:
            self._ended(error)
            raise
        if response is None or response.final:
            self._ended(None)
        return response

    def close(self) -> None:
        self._inner.close()
        self._ended(None)

    def _ended(self, error: BatchyardError | None) -> None:
        if not self._over:
            self._over = True
            self._end(error)
