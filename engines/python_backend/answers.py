"""What a Python model answered, as the gateway takes it."""

from engines.calls import Call, Response
from engines.errors import ModelAnsweredError
from engines.python_backend.messages import END, START, Answer, Request
from engines.tensor import Tensors


def request_of(key: int, call: Call, every_output: tuple[str, ...]) -> Request:
    """The message of a call; one that names no outputs wants `every_output`, as in Triton."""
    return Request(
        key,
        list(call.outputs or every_output),
        call.id,
        dict(call.parameters),
        call.correlation,
        (START if call.start else 0) | (END if call.end else 0),
        call.timeout,
    )


def response_of(answer: Answer, tensors: Tensors) -> Response:
    """The answer or error that the model gave."""
    if answer.code:
        return Response(error=ModelAnsweredError(answer.error, answer.code))
    return Response(tensors, answer.parameters, answer.final)
