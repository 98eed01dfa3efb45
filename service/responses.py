"""The answers of one request, where there is only one, and what is said where there may be more."""

from service import triton_words
from service.errors import UnsupportedError
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


def has_many_answers(model: str) -> UnsupportedError:
    """A decoupled model was asked for the one answer."""
    text = f"model {model!r} gives any number of answers; ask it by ModelStreamInfer of gRPC, or by generate_stream"
    return UnsupportedError(text).as_triton(triton_words.decoupled())
