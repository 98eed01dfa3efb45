"""Infer requests and answers of gRPC."""

from collections.abc import Mapping

from tritonclient.grpc.service_pb2 import InferParameter, ModelInferRequest, ModelInferResponse

from engines.grpc_values import set_parameter
from engines.tensor import data_type_of, encode_raw
from service.api.classification import Classes
from service.api.grpc.parameters import check_version, read_classes, read_parameters
from service.api.grpc.tensors import decode_inputs
from service.errors import InvalidRequestError, UnsupportedError
from service.types import InferRequest, InferResponse


def decode_request(message: ModelInferRequest) -> tuple[InferRequest, Classes]:
    """The request and what is wanted as classes. Its parameters are not settled yet. Raises `InvalidRequestError`."""
    check_version(message.model_version)
    outputs: list[str] = []
    classes: dict[str, int] = {}
    for output in message.outputs:
        name = output.name
        if name in outputs:
            raise InvalidRequestError(f"output {name!r} is asked for twice", name)
        outputs.append(name)
        if output.parameters:
            _refuse_shared_memory(name, output.parameters)
            if count := read_classes(output.parameters):
                classes[name] = count
    request = InferRequest(
        message.model_name,
        decode_inputs(message),
        message.model_version,
        tuple(outputs),
        message.id,
        parameters=read_parameters(message.parameters) if message.parameters else {},
    )
    return request, classes


def _refuse_shared_memory(name: str, parameters: Mapping[str, InferParameter]) -> None:
    if "shared_memory_region" in parameters:
        raise UnsupportedError(f"output {name!r}: shared memory is not served", name)


def fill_response(message: ModelInferResponse, response: InferResponse, request_id: str) -> None:
    """Writes an answer into an empty message; tensors are raw, as Triton answers."""
    message.model_name = response.model
    message.model_version = response.version
    message.id = request_id
    outputs, raw = message.outputs, message.raw_output_contents
    for name, array in response.outputs.items():
        outputs.add(name=name, datatype=data_type_of(array).name, shape=array.shape)
        raw.append(encode_raw(array))
    for name, value in response.parameters.items():
        set_parameter(message.parameters[name], value)
