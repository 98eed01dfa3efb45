"""Responses as a Python model knows them, and as they are sent."""

import json
from collections.abc import Collection, Mapping, Sequence

from engines.calls import Parameter
from engines.python_backend.inside.errors import ErrorCode, TritonError, TritonModelException, plain
from engines.python_backend.inside.tensor import Tensor, sendable
from engines.python_backend.messages import Answer
from engines.tensor import Array, Tensors


class InferenceResponse:
    """One answer to one request: output tensors, or an error."""

    def __init__(
        self,
        output_tensors: Sequence[Tensor] = (),
        error: TritonError | None = None,
        parameters: Mapping[str, bool | int | str] | None = None,
    ) -> None:
        for tensor in output_tensors:
            if tensor is None:
                raise TritonModelException("Output tensor for inference response should not be empty.")
            if not isinstance(tensor, Tensor):
                raise TypeError(f"output_tensors must be a list of Tensor, found a {type(tensor).__name__} in it")
        if error is not None and not isinstance(error, TritonError):
            raise TypeError(f"error must be a TritonError, found {type(error).__name__}")
        self._tensors = list(output_tensors)
        self._error = error
        self._parameters = checked(parameters)

    def output_tensors(self) -> list[Tensor]:
        """The tensors, none with an error."""
        return self._tensors

    def has_error(self) -> bool:
        """Is this an error?"""
        return self._error is not None

    def error(self) -> TritonError | None:
        """The error, None without one."""
        return self._error

    def parameters(self) -> str:
        """The parameters as a JSON object."""
        return json.dumps(self._parameters)

    def outgoing(self, wanted: Collection[str], *, final: bool) -> tuple[Answer, dict[str, Array]]:
        """The answer and its tensors, those among `wanted`."""
        if self._error is not None:
            return Answer(code=self._error.code().name, error=self._error.message()), {}
        tensors = {each.name(): sendable(each.as_numpy()) for each in self._tensors if each.name() in wanted}
        return Answer(final, self._parameters), tensors


def incoming(answer: Answer, tensors: Tensors) -> InferenceResponse:
    """The response that another model gave."""
    error = TritonError(answer.error, ErrorCode[answer.code]) if answer.code else None
    response = InferenceResponse([Tensor.received(name, array) for name, array in tensors.items()], error)
    response._parameters = dict(answer.parameters)
    return response


def checked(parameters: Mapping[str, bool | int | str] | None) -> dict[str, Parameter]:
    """A copy that can be sent; raises `TritonModelException` where a name is no string, or a value no bool, int of 64
    bits or string."""
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise TritonModelException(f"Expect parameters to be a dict, got {type(parameters)}")
    found: dict[str, Parameter] = {}
    for key, value in parameters.items():
        if not isinstance(key, str):
            raise TritonModelException(f"Expect parameters keys to have type str, found type {type(key)}")
        if not isinstance(value, bool | int | str):
            raise TritonModelException(f"Expect parameters values to have type bool/int/str, found type {type(value)}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise TritonModelException(f"Expect parameters values of type int to have 64 bits, found {value}")
        found[plain(key)] = plain(value) if isinstance(value, str) else value
    return found
