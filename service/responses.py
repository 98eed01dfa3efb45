"""The answers of one request, where there is only one."""

from service.types import InferResponse


class OneResponse:
    """Implements `service.types.Responses`."""

    def __init__(self, response: InferResponse) -> None:
        self._response: InferResponse | None = response

    async def read(self) -> InferResponse | None:
        response, self._response = self._response, None
        return response

    def close(self) -> None:
        self._response = None
