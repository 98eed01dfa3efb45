"""Tensors of gRPC messages: raw, or in the typed list of their data type."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tritonclient.grpc.service_pb2 import ModelInferRequest

from engines.errors import InvalidInputError
from engines.grpc_values import CONTENTS
from engines.tensor import BYTES, Array, DataType, data_type, element_count
from service.api.json_tensors import MAX_RANK
from service.api.v2_request import decode_binary
from service.errors import InvalidRequestError, UnsupportedError
from service.triton_words import given_twice, in_request

InputTensor = ModelInferRequest.InferInputTensor

_TYPES: Mapping[str, str] = {
    "bool_contents": "BOOL",
    "int_contents": "INT32",
    "int64_contents": "INT64",
    "uint_contents": "UINT32",
    "uint64_contents": "UINT64",
    "fp32_contents": "FP32",
    "fp64_contents": "FP64",
    "bytes_contents": "BYTES",
}
"""List -> what Triton calls it in its errors."""


def decode_inputs(message: ModelInferRequest) -> dict[str, Array]:
    """The inputs of a request; raises `InvalidRequestError`."""
    raw = list(message.raw_input_contents)
    tensors = message.inputs
    inputs: dict[str, Array] = {}
    for index, tensor in enumerate(tensors):
        name = tensor.name
        if name in inputs:
            said = given_twice(message.id, name)
            raise InvalidRequestError(f"input {name!r} is given twice", name).as_triton(said)
        try:
            inputs[name] = _decode(message, tensor, raw, index)
        except InvalidInputError as error:
            raise InvalidRequestError(f"input {name!r}: {error}", name) from None
    if len(raw) > len(tensors):
        raise InvalidRequestError(f"raw_input_contents has {len(raw)} entries, there are only {len(tensors)} inputs")
    return inputs


def _decode(message: ModelInferRequest, tensor: InputTensor, raw: Sequence[bytes], index: int) -> Array:
    if tensor.parameters:
        _refuse_shared_memory(tensor)
    datatype, shape = data_type(tensor.datatype), list(tensor.shape)
    if len(shape) > MAX_RANK or (shape and min(shape) < 0):
        raise InvalidInputError(f"shape {shape[: MAX_RANK + 1]}: wanted at most {MAX_RANK} dimensions of 0 or more")
    if tensor.HasField("contents"):
        if raw:
            raise _both(message, tensor)
        return _typed(message, tensor, datatype, shape)
    if index < len(raw):
        if datatype.size:
            _check_size(message, tensor, datatype.size * element_count(shape), len(raw[index]))
        return decode_binary(raw[index], datatype, shape)
    if not raw and not element_count(shape):
        return decode_binary(b"", datatype, shape)
    raise InvalidRequestError(
        f"input {tensor.name!r} has no data; send it in raw_input_contents, one entry for each input in their order, "
        "or in its contents",
        tensor.name,
    ).as_triton(f"unable to find data for input tensor '{tensor.name}' for model '{message.model_name}' in request.")


def _check_size(message: ModelInferRequest, tensor: InputTensor, wanted: int, found: int) -> None:
    if found != wanted:
        shape = list(tensor.shape)
        text = f"{tensor.datatype} of shape {shape} takes {wanted} bytes, its entry of raw_input_contents has {found}"
        said = _size_words(message, tensor, wanted, found)
        raise InvalidRequestError(f"input {tensor.name!r}: {text}", tensor.name).as_triton(said)


def _size_words(message: ModelInferRequest, tensor: InputTensor, wanted: int, found: int) -> str:
    mismatch = f"input byte size mismatch for input '{tensor.name}' for model '{message.model_name}'"
    return in_request(message.id, f"{mismatch}. Expected {wanted}, got {found}")


def _refuse_shared_memory(tensor: InputTensor) -> None:
    if "shared_memory_region" in tensor.parameters:
        raise UnsupportedError(f"input {tensor.name!r}: shared memory is not served; send the data itself", tensor.name)


def _both(message: ModelInferRequest, tensor: InputTensor) -> InvalidRequestError:
    return InvalidRequestError(
        f"input {tensor.name!r} has contents though the request has raw_input_contents; send all inputs in one of them",
        tensor.name,
    ).as_triton(
        f"contents field must not be specified when using raw_input_contents for '{tensor.name}' for model "
        f"'{message.model_name}'"
    )


def _typed(message: ModelInferRequest, tensor: InputTensor, datatype: DataType, shape: list[int]) -> Array:
    wanted = CONTENTS.get(datatype.name)
    if wanted is None:
        raise InvalidInputError(f"{datatype} has no typed contents; send it in raw_input_contents")
    for field, _ in tensor.contents.ListFields():
        if field.name != wanted:
            raise _wrong_list(message, tensor, field.name, wanted)
    values = getattr(tensor.contents, wanted)
    count = element_count(shape)
    if len(values) != count:
        text = f"input {tensor.name!r}: shape {shape} holds {count} elements, {wanted} has {len(values)}"
        raise InvalidRequestError(text, tensor.name).as_triton(
            _size_words(message, tensor, count * datatype.size, len(values) * datatype.size)
        )
    return _array(values, datatype).reshape(shape) if count else decode_binary(b"", datatype, shape)


def _wrong_list(message: ModelInferRequest, tensor: InputTensor, found: str, wanted: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"input {tensor.name!r} is of datatype {tensor.datatype}, which is sent in {wanted}; found {found}", tensor.name
    ).as_triton(
        f"unexpected explicit tensor data for input tensor '{tensor.name}' for model '{message.model_name}' of type "
        f"'{_TYPES[found]}', expected datatype '{tensor.datatype}'"
    )


def _array(values: Sequence[Any], datatype: DataType) -> Array:
    if datatype is BYTES:
        array = np.empty(len(values), BYTES.numpy)
        array[:] = values
        return array
    try:
        return np.fromiter(values, datatype.numpy, len(values))
    except OverflowError as error:
        raise InvalidInputError(f"a value does not fit {datatype}: {error}") from None
