"""Questions and answers in the JSON of the v2 REST protocol, tensors as its binary extension has them."""

from collections.abc import Mapping
from typing import Any

import msgspec
from google.protobuf import json_format
from msgspec import Struct, field
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.calls import Question, Response
from engines.errors import InvalidOutputError
from engines.tensor import Array, data_type_of, encode_raw
from engines.triton_errors import LONGEST_SAID
from engines.triton_grpc_messages import config_of_tensors, parameters_of
from engines.triton_tensors import from_raw, from_values

_BINARY: Mapping[str, bool] = {"binary_data": True}


class _Output(Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


class _Answer(Struct):
    outputs: list[_Output] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)


class _Tensor(Struct):
    name: str
    datatype: str
    shape: list[int]


class _Metadata(Struct):
    name: str
    inputs: list[_Tensor] = field(default_factory=list)
    outputs: list[_Tensor] = field(default_factory=list)


class _Error(Struct):
    error: str = ""


def write(question: Question, timeout: float) -> tuple[bytes, int]:
    """The body of a request, and the length of the JSON at its beginning. `timeout`: seconds, inf for none."""
    inputs: list[dict[str, Any]] = []
    contents: list[bytes] = []
    for name, array in question.inputs.items():
        raw = encode_raw(array)
        size = {"binary_data_size": len(raw)}
        inputs.append(
            {"name": name, "datatype": data_type_of(array).name, "shape": list(array.shape), "parameters": size}
        )
        contents.append(raw)
    head: dict[str, Any] = {"inputs": inputs, "parameters": parameters_of(question, timeout)}
    if question.id:
        head["id"] = question.id
    if question.outputs:
        head["outputs"] = [{"name": name, "parameters": _BINARY} for name in question.outputs]
    else:
        head["parameters"]["binary_data_output"] = True
    json = msgspec.json.encode(head)
    return b"".join([json, *contents]), len(json)


def read(body: bytes, header_length: int | None) -> Response:
    """The answer; raises `InvalidOutputError`. `header_length`: of the JSON, None where there is nothing else."""
    json = body if header_length is None else body[:header_length]
    answer = _decode(json, _Answer)
    rest = memoryview(body)[len(json) :]
    outputs: dict[str, Array] = {}
    for output in answer.outputs:
        if output.data is not None:
            outputs[output.name] = from_values(output.name, output.datatype, output.shape, _flat(output.data))
            continue
        size = output.parameters.get("binary_data_size")
        if not isinstance(size, int) or not 0 <= size <= len(rest):
            raise InvalidOutputError(f"output {output.name!r} of the other server has no data, or ends before its end")
        outputs[output.name] = from_raw(output.name, output.datatype, output.shape, rest[:size])
        rest = rest[size:]
    parameters = {
        name: value for name, value in answer.parameters.items() if isinstance(value, bool | int | float | str)
    }
    return Response(outputs, parameters)


def _flat(data: list[Any]) -> list[Any]:
    """Elements in row-major order; some servers nest them."""
    while any(isinstance(item, list) for item in data):
        data = [item for row in data for item in (row if isinstance(row, list) else [row])]
    return data


def config_of(body: bytes) -> ModelConfigProto:
    """A model's configuration; raises `InvalidOutputError`."""
    try:
        found: ModelConfigProto = json_format.Parse(body, ModelConfigProto(), ignore_unknown_fields=True)
        return found
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidOutputError(f"the other server's model configuration cannot be read: {error}") from None


def config_of_metadata(body: bytes) -> ModelConfigProto:
    """A model's metadata, as a configuration; raises `InvalidOutputError`."""
    found = _decode(body, _Metadata)
    return config_of_tensors(
        found.name,
        [(tensor.name, tensor.datatype, tensor.shape) for tensor in found.inputs],
        [(tensor.name, tensor.datatype, tensor.shape) for tensor in found.outputs],
    )


def error_of(body: bytes) -> str:
    """What the body of a failure says."""
    try:
        return msgspec.json.decode(body, type=_Error).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body[:LONGEST_SAID].decode("utf-8", "replace")


def _decode(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidOutputError(f"the other server's answer is not of the v2 protocol: {error}") from None
