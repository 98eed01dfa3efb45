"""What Triton's example programs for gRPC do without its client library: messages made by hand."""

from collections.abc import Iterator, Sequence

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor

from tests.conformance.served import Served

VALUES = list(range(16))
SECONDS = 20.0


@pytest.fixture
def stub(served: Served) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    """The service's generated stub."""
    with grpc.insecure_channel(served.grpc) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request_of(model: str, datatype: str, field: str, *inputs: Sequence[object]) -> service_pb2.ModelInferRequest:
    """INPUT0, INPUT1 of shape [1, 16] in typed contents; both outputs are asked for."""
    Input = service_pb2.ModelInferRequest.InferInputTensor
    Output = service_pb2.ModelInferRequest.InferRequestedOutputTensor
    contents = [service_pb2.InferTensorContents(**{field: data}) for data in inputs]
    return service_pb2.ModelInferRequest(
        model_name=model,
        inputs=[
            Input(name=f"INPUT{index}", datatype=datatype, shape=[1, 16], contents=each)
            for index, each in enumerate(contents)
        ],
        outputs=[Output(name="OUTPUT0"), Output(name="OUTPUT1")],
    )


def check(response: service_pb2.ModelInferResponse, dtype: type[np.generic]) -> None:
    """Sum and difference of VALUES and ones, in raw contents, of shape [1, 16]."""
    assert [(each.name, list(each.shape)) for each in response.outputs] == [("OUTPUT0", [1, 16]), ("OUTPUT1", [1, 16])]
    total, difference = (np.frombuffer(raw, dtype).tolist() for raw in response.raw_output_contents)
    assert total == [value + 1 for value in VALUES]
    assert difference == [value - 1 for value in VALUES]


def failure(stub: service_pb2_grpc.GRPCInferenceServiceStub, request: service_pb2.ModelInferRequest) -> grpc.RpcError:
    """The error that the request is answered with."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request, timeout=SECONDS)
    return caught.value


def test_int_contents(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    """grpc_explicit_int_content_client."""
    request = request_of("simple", "INT32", "int_contents", VALUES, [1] * 16)
    check(stub.ModelInfer(request, timeout=SECONDS), np.int32)
    request.raw_input_contents.append(np.array(VALUES[:8], np.int32).tobytes())
    error = failure(stub, request)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (
        "contents field must not be specified when using raw_input_contents for 'INPUT0' for model 'simple'"
        in error.details()
    )


def test_int8_contents(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    """grpc_explicit_int8_content_client."""
    request = request_of("simple_int8", "INT8", "int_contents", VALUES, [1] * 16)
    check(stub.ModelInfer(request, timeout=SECONDS), np.int8)
    request.model_version = "wrong_specification"
    error = failure(stub, request)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "failed to get model version from specified version string 'wrong_specification'" in error.details()


def test_bytes_contents(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    """grpc_explicit_byte_content_client."""
    texts = [str(value).encode() for value in VALUES]
    response = stub.ModelInfer(
        request_of("simple_string", "BYTES", "bytes_contents", texts, [b"1"] * 16), timeout=SECONDS
    )
    total, difference = (deserialize_bytes_tensor(raw) for raw in response.raw_output_contents)
    assert [int(each) for each in total] == [value + 1 for value in VALUES]
    assert [int(each) for each in difference] == [value - 1 for value in VALUES]


def test_raw_contents_and_every_question(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    """grpc_client, with a small model in place of its large one."""
    name = "identity_fp32"
    assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=SECONDS).live
    assert stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=SECONDS).ready
    assert stub.ModelReady(service_pb2.ModelReadyRequest(name=name), timeout=SECONDS).ready
    assert stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=SECONDS).name == "triton"
    metadata = stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=name), timeout=SECONDS)
    assert (metadata.name, list(metadata.inputs[0].shape)) == (name, [-1, -1])
    config = stub.ModelConfig(service_pb2.ModelConfigRequest(name=name), timeout=SECONDS).config
    assert (config.name, config.max_batch_size) == (name, 8)
    request = service_pb2.ModelInferRequest(model_name=name, id="my request id")
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 602112 // 4])
    request.outputs.add(name="OUTPUT0")
    request.raw_input_contents.append(b"a" * 602112)
    response = stub.ModelInfer(request, timeout=SECONDS)
    assert (response.id, response.model_name) == ("my request id", name)
    assert response.raw_output_contents[0] == b"a" * 602112
