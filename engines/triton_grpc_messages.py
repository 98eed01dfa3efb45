"""Questions and answers as messages of the v2 gRPC protocol."""

from typing import Any

from google.protobuf import json_format
from tritonclient.grpc import service_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.calls import Parameter, Question, Response
from engines.errors import InvalidInputError, InvalidOutputError
from engines.grpc_values import CONTENTS, set_parameter
from engines.tensor import Array, data_type_of, encode_raw
from engines.triton_tensors import from_raw, from_values

FINAL = "triton_final_response"
EMPTY_FINAL = "triton_enable_empty_final_response"
_MOST_MICROSECONDS = 2**62


def write(question: Question, model: str, version: str, timeout: float) -> Any:
    """A ModelInferRequest with raw contents. `timeout`: seconds, inf for none."""
    request = service_pb2.ModelInferRequest(model_name=model, model_version=version, id=question.id)
    for name, array in question.inputs.items():
        request.inputs.add(name=name, datatype=data_type_of(array).name, shape=array.shape)
        request.raw_input_contents.append(encode_raw(array))
    for name in question.outputs:
        request.outputs.add(name=name)
    for name, value in parameters_of(question, timeout).items():
        try:
            set_parameter(request.parameters[name], value)
        except ValueError as error:
            raise InvalidInputError(f"parameter {name!r} cannot be sent to the model's server: {error}") from None
    return request


def parameters_of(question: Question, timeout: float) -> dict[str, Parameter]:
    """All parameters of a question, those that the protocol's extensions give a meaning included."""
    found = dict(question.parameters)
    if question.correlation:
        found |= {"sequence_id": question.correlation, "sequence_start": question.start, "sequence_end": question.end}
    if question.priority:
        found["priority"] = question.priority
    if timeout < _MOST_MICROSECONDS / 1e6:
        found["timeout"] = max(1, int(timeout * 1e6))
    return found


def read(answer: Any) -> Response:
    """A ModelInferResponse; raises `InvalidOutputError`. It is final unless it says that it is not."""
    parameters = {name: _get(value) for name, value in answer.parameters.items()}
    final = bool(parameters.pop(FINAL, True))
    return Response(_outputs(answer), parameters, final)


def _get(message: Any) -> Parameter:
    kind = message.WhichOneof("parameter_choice")
    found: Parameter = getattr(message, kind) if kind else ""
    return found


def _outputs(answer: Any) -> dict[str, Array]:
    raw = answer.raw_output_contents
    if raw and len(raw) != len(answer.outputs):
        raise InvalidOutputError(f"the other server sent {len(raw)} raw contents for {len(answer.outputs)} outputs")
    if raw:
        return {
            tensor.name: from_raw(tensor.name, tensor.datatype, tensor.shape, content)
            for tensor, content in zip(answer.outputs, raw, strict=True)
        }
    return {
        tensor.name: from_values(tensor.name, tensor.datatype, tensor.shape, _values(tensor))
        for tensor in answer.outputs
    }


def _values(tensor: Any) -> Any:
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        raise InvalidOutputError(
            f"output {tensor.name!r} of the other server is {tensor.datatype} without raw contents"
        )
    return getattr(tensor.contents, field)


def config_of(metadata: Any) -> ModelConfigProto:
    """What ModelMetadata says, as a configuration; raises `InvalidOutputError`."""
    return config_of_tensors(
        metadata.name,
        [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs],
        [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.outputs],
    )


Described = list[tuple[str, str, list[int]]]
"""Name, datatype and shape, any batch dimension included."""


def config_of_tensors(name: str, inputs: Described, outputs: Described) -> ModelConfigProto:
    """A configuration of these tensors, without a batch dimension of its own; raises `InvalidOutputError`."""
    said = {"name": name, "input": _tensors(inputs), "output": _tensors(outputs)}
    try:
        found: ModelConfigProto = json_format.ParseDict(said, ModelConfigProto())
        return found
    except json_format.ParseError as error:
        raise InvalidOutputError(f"what the other server says of {name!r} cannot be read: {error}") from None


def _tensors(described: Described) -> list[dict[str, Any]]:
    return [{"name": name, "data_type": _config_type(kind), "dims": shape} for name, kind, shape in described]


def _config_type(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
