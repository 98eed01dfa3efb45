"""What a Python model answered, as the gateway takes it."""

from engines.calls import Call, Response
from engines.errors import InvalidOutputError, ModelAnsweredError
from engines.model_config import ModelConfig
from engines.python_backend.messages import END, START, Answer, Request
from engines.tensor import Array, Tensors, TensorSpec


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


def response_of(answer: Answer, tensors: Tensors, config: ModelConfig) -> Response:
    """The answer, or the error where a tensor is not what config.pbtxt says. An output that is absent is no error."""
    if answer.code:
        return Response(error=ModelAnsweredError(answer.error, answer.code))
    try:
        for spec in config.outputs:
            if spec.name in tensors:
                _check(spec, tensors[spec.name], 1 if config.max_batch_size else 0)
    except InvalidOutputError as error:
        return Response(error=error)
    return Response(tensors, answer.parameters, answer.final)


def _check(spec: TensorSpec, array: Array, leading: int) -> None:
    if array.dtype != spec.datatype.numpy:
        raise InvalidOutputError(
            f"output {spec.name!r} has numpy dtype {array.dtype}, config.pbtxt says {spec.datatype.config_name}; "
            "correct one of them"
        )
    found = array.shape[leading:]
    if array.ndim < leading or len(found) != len(spec.shape) or not _fits(found, spec.shape):
        wanted = [*([-1] * leading), *spec.shape]
        raise InvalidOutputError(
            f"output {spec.name!r} has shape {list(array.shape)}, config.pbtxt says {wanted}; correct one of them"
        )


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(size in (-1, given) for size, given in zip(wanted, found, strict=True))
