"""An infer request from the wire: JSON, or JSON with binary tensors behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from engines.errors import InvalidInputError
from engines.tensor import BOOL, Array, DataType, data_type, decode_raw
from service import triton_words
from service.api.classification import NO_CLASSES, Classes
from service.api.deadlines import whole_parameter
from service.api.json_tensors import decode_data
from service.api.v2_messages import InferMessage, InputTensor, RequestedOutput, decode_message
from service.api.v2_parameters import flag
from service.errors import InvalidRequestError, UnsupportedError
from service.types import InferRequest


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """How one output is to be written. `classes` above 0: the classification extension, that many a row."""

    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the answer is to be written: each named output, or all of them as `default` says where none is named."""

    outputs: Mapping[str, WantedOutput]
    default: WantedOutput
    classes: Classes = field(default_factory=lambda: NO_CLASSES)


_AS_JSON = WantedOutput(binary=False)
_AS_BINARY = WantedOutput(binary=True)
_ALL_AS_JSON = Wanted({}, _AS_JSON)
_ALL_AS_BINARY = Wanted({}, _AS_BINARY)


def decode_request(model: str, version: str, body: bytes, header_length: int | None) -> tuple[InferRequest, Wanted]:
    """The request in `body`, whose first `header_length` bytes are JSON (None: all of it).

    Its parameters are not settled yet. Raises `InvalidRequestError`.
    """
    tail = memoryview(b"")
    head: bytes | memoryview = body
    if header_length is not None:
        if header_length > len(body):
            raise InvalidRequestError(
                f"Inference-Header-Content-Length is {header_length}, the body has only {len(body)} bytes"
            )
        view = memoryview(body)
        head, tail = view[:header_length], view[header_length:]
    message = decode_message(head)
    request = InferRequest(
        model,
        _decode_inputs(message, tail, model),
        version,
        outputs=tuple([output.name for output in message.outputs]),
        id=message.id,
        parameters=message.parameters,
    )
    return request, _wanted(message)


def _decode_inputs(message: InferMessage, tail: memoryview, model: str) -> dict[str, Array]:
    inputs: dict[str, Array] = {}
    for tensor in message.inputs:
        if tensor.name in inputs:
            raise InvalidRequestError(f"input {tensor.name!r} is given twice", tensor.name).as_triton(
                triton_words.given_twice(message.id, tensor.name)
            )
        datatype = _datatype(tensor)
        try:
            if not tensor.parameters:
                inputs[tensor.name] = decode_data(tensor.data, tensor.name, datatype, tensor.shape)
            else:
                inputs[tensor.name], tail = _decode_with_parameters(tensor, datatype, tail, model)
        except InvalidInputError as error:
            raise InvalidRequestError(f"input {tensor.name!r}: {error}", tensor.name) from None
    if tail:
        text = f"the body has {len(tail)} bytes that no input's binary_data_size claims"
        raise InvalidRequestError(text).as_triton(f"unexpected additional input data for model '{model}'")
    return inputs


def _datatype(tensor: InputTensor) -> DataType:
    try:
        return data_type(tensor.datatype)
    except InvalidInputError as error:
        said = f"invalid datatype for input {tensor.name}"
        raise InvalidRequestError(f"input {tensor.name!r}: {error}", tensor.name).as_triton(said) from None


def _decode_with_parameters(
    tensor: InputTensor, datatype: DataType, tail: memoryview, model: str
) -> tuple[Array, memoryview]:
    if "shared_memory_region" in tensor.parameters:
        raise UnsupportedError(f"input {tensor.name!r}: shared memory is not served; send the data itself", tensor.name)
    if "binary_data_size" not in tensor.parameters:
        return decode_data(tensor.data, tensor.name, datatype, tensor.shape), tail
    size = whole_parameter(tensor.parameters, "binary_data_size")
    if size > len(tail):
        text = f"input {tensor.name!r}: binary_data_size is {size}, the body has only {len(tail)} bytes left for it"
        said = f"unexpected size for input '{tensor.name}', expecting {size - len(tail)} additional bytes"
        raise InvalidRequestError(text, tensor.name).as_triton(f"{said} for model '{model}'")
    if len(bytes(tensor.data)):
        raise InvalidInputError("has both data and binary_data_size; send one of them")
    return decode_binary(tail[:size], datatype, tensor.shape), tail[size:]


def decode_binary(buffer: bytes | memoryview, datatype: DataType, shape: list[int]) -> Array:
    """The tensor in `buffer`, aligned for its datatype; a BOOL is true for every byte but 0."""
    try:
        array = decode_raw(buffer, datatype, shape)
    except ValueError as error:
        raise InvalidInputError(f"shape {shape} cannot be held: {error}") from None
    if datatype is BOOL:
        array = array.view(np.uint8) != 0
    return array if array.flags.aligned else array.copy()


def _wanted(message: InferMessage) -> Wanted:
    binary = flag(message.parameters, "binary_data_output")
    if not message.outputs:
        return _ALL_AS_BINARY if binary else _ALL_AS_JSON
    default = _AS_BINARY if binary else _AS_JSON
    outputs: dict[str, WantedOutput] = {}
    for output in message.outputs:
        if output.name in outputs:
            raise InvalidRequestError(f"output {output.name!r} is asked for twice", output.name)
        outputs[output.name] = _wanted_output(output, default) if output.parameters else default
    return Wanted(outputs, default, {name: how.classes for name, how in outputs.items() if how.classes})


def _wanted_output(output: RequestedOutput, default: WantedOutput) -> WantedOutput:
    if "shared_memory_region" in output.parameters:
        raise UnsupportedError(f"output {output.name!r}: shared memory is not served", output.name)
    return WantedOutput(
        binary=flag(output.parameters, "binary_data", default.binary),
        classes=whole_parameter(output.parameters, "classification"),
    )
