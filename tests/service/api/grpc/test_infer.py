"""ModelInfer, asked by the unmodified tritonclient over a socket."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from engines.tensor import DATA_TYPES
from tests.service.api.grpc.gateways import GrpcGateway
from tests.service.api.grpc.serving import GrpcAddress
from tests.service.api.models import identity, identity_model, info
from tests.service.api.test_triton_client import VALUES, sample

Stub = service_pb2_grpc.GRPCInferenceServiceStub
FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def given(array: np.ndarray[Any, Any], datatype: str = "FP32", name: str = "INPUT0") -> triton.InferInput:
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array([values], np.float32)


@pytest.fixture
async def aio_client(served: GrpcAddress) -> AsyncIterator[triton_aio.InferenceServerClient]:
    async with triton_aio.InferenceServerClient(served.url) as client:
        yield client


@pytest.mark.parametrize("datatype", list(DATA_TYPES))
def test_raw_round_trip(client: triton.InferenceServerClient, datatype: str) -> None:
    array = sample(datatype)
    result = client.infer(f"identity_{datatype.lower()}", [given(array, datatype)], request_id="r1")
    response = result.get_response()
    assert (response.id, response.model_version, response.outputs[0].datatype) == ("r1", "2", datatype)
    answer = result.as_numpy("OUTPUT0")
    np.testing.assert_array_equal(answer, array)
    assert answer.dtype == array.dtype


@pytest.mark.parametrize("datatype", list(DATA_TYPES))
async def test_raw_round_trip_asyncio(aio_client: triton_aio.InferenceServerClient, datatype: str) -> None:
    array = sample(datatype)
    result = await aio_client.infer(f"identity_{datatype.lower()}", [given(array, datatype)])
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)


@pytest.mark.parametrize("datatype", list(FIELDS))
def test_typed_contents(stub: Stub, datatype: str) -> None:
    request = service_pb2.ModelInferRequest(model_name=f"identity_{datatype.lower()}")
    tensor = request.inputs.add(name="INPUT0", datatype=datatype, shape=[1, 3])
    getattr(tensor.contents, FIELDS[datatype]).extend(VALUES[datatype])
    result = triton.InferResult(stub.ModelInfer(request))
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), sample(datatype))


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_tensors_without_elements(stub: Stub, datatype: str, typed: bool) -> None:
    request = service_pb2.ModelInferRequest(model_name=f"identity_{datatype.lower()}")
    tensor = request.inputs.add(name="INPUT0", datatype=datatype, shape=[1, 0])
    if typed:
        tensor.contents.SetInParent()
    else:
        request.raw_input_contents.append(b"")
    response = stub.ModelInfer(request)
    assert list(response.outputs[0].shape) == [1, 0]
    assert list(response.raw_output_contents) == [b""]


def test_requested_outputs_come_alone_and_in_order(client: triton.InferenceServerClient) -> None:
    a = floats(1, 2)
    inputs = [given(a, name="INPUT0"), given(a, name="INPUT1")]
    wanted = [triton.InferRequestedOutput("DIFFERENCE"), triton.InferRequestedOutput("SUM")]
    both = client.infer("add_sub", inputs)
    np.testing.assert_array_equal(both.as_numpy("SUM"), 2 * a)
    np.testing.assert_array_equal(both.as_numpy("DIFFERENCE"), 0 * a)
    assert {output.name for output in client.infer("add_sub", inputs, outputs=wanted).get_response().outputs} == {
        "SUM",
        "DIFFERENCE",
    }


def test_classification(client: triton.InferenceServerClient) -> None:
    scores = np.array([[0.25, 0.5, -1.0, 4.0], [0.0, np.nan, 3.5, 1.0]], np.float32)
    wanted = [triton.InferRequestedOutput("OUTPUT0", class_count=2)]
    answer = client.infer("labelled", [given(scores)], outputs=wanted).as_numpy("OUTPUT0")
    assert answer.tolist() == [[b"4.0:3", b"0.5:1:dog"], [b"3.5:2:eel", b"1.0:3"]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate", None])
@pytest.mark.parametrize("size", [1, 50_000])
def test_compressed_requests(client: triton.InferenceServerClient, algorithm: str | None, size: int) -> None:
    array = np.arange(size, dtype=np.float32).reshape(1, -1)
    result = client.infer("identity", [given(array)], compression_algorithm=algorithm)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)


def test_parameters_and_metadata_reach_the_gateway(client: triton.InferenceServerClient, gateway: GrpcGateway) -> None:
    before = gateway.clock()
    client.infer(
        "identity",
        [given(floats(1))],
        priority=3,
        timeout=2_000_000,
        sequence_id="a",
        sequence_start=True,
        parameters={"text": "x", "whole": 5, "flag": True, "number": 1.5},
        model_version="1",
        headers={"x-tenant": "blue"},
    )
    last = gateway.last
    assert last is not None
    assert (last.priority, last.version) == (3, "1")
    assert last.parameters == {"text": "x", "whole": 5, "flag": True, "number": 1.5}
    assert last.sequence is not None
    assert (last.sequence.id, last.sequence.start, last.sequence.end) == ("a", True, False)
    assert last.hints.headers[b"x-tenant"] == b"blue"
    assert before + 2 <= last.deadline <= gateway.clock() + 2


@pytest.mark.parametrize(
    ("model", "call_timeout", "named", "allowed"),
    [
        ("identity", None, None, 30.0),
        ("scalar", None, None, 3.0),
        ("scalar", 20.0, None, 20.0),
        ("identity", 20.0, 2_000_000, 2.0),
        ("identity", 2.0, 20_000_000, 2.0),
        ("identity", 60.0, None, 60.0),
    ],
)
def test_deadlines(
    client: triton.InferenceServerClient,
    gateway: GrpcGateway,
    model: str,
    call_timeout: float | None,
    named: int | None,
    allowed: float,
) -> None:
    """The caller's own counts, the earlier of those that it names; the default only where there is none. gRPC rounds
    those of calls on the wire."""
    before = gateway.clock()
    client.infer(model, [given(floats(1, 2))], timeout=named, client_timeout=call_timeout)
    assert gateway.last is not None
    rounding = 0.02 * allowed
    assert before + allowed - rounding <= gateway.last.deadline <= gateway.clock() + allowed + rounding


def test_the_answer_says_who_gave_it(stub: Stub) -> None:
    request = service_pb2.ModelInferRequest(model_name="identity", raw_input_contents=[b"\0\0\0\0"])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
    metadata = (("x-request-id", "mine"), ("x-explain", "1"))
    response, call = stub.ModelInfer.with_call(request, metadata=metadata)
    told = dict(call.trailing_metadata())
    assert (told["x-model"], told["x-engine"], told["x-request-id"]) == ("identity:2", "numpy", "mine")
    assert (told["x-queue-ms"], told["x-engine-ms"], told["x-predicted-ms"]) == ("1.500", "2.250", "4.000")
    assert '"variant":"identity:2"' in told["x-explain"]
    assert response.parameters == {}


def test_a_name_that_headers_cannot_hold(gateway: GrpcGateway, stub: Stub) -> None:
    gateway.add(info("modèle", identity_model("FP32")), identity)
    request = service_pb2.ModelInferRequest(model_name="modèle", raw_input_contents=[b"\0\0\0\0"])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
    response, call = stub.ModelInfer.with_call(request)
    assert response.model_name == "modèle"
    assert dict(call.trailing_metadata())["x-model"] == r"mod\xe8le:2"


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("unknown", "NOT_FOUND", "no model 'unknown'"),
        ("wrong", "INVALID_ARGUMENT", "input 'INPUT0' is wrong"),
        ("unsupported", "UNIMPLEMENTED", "sequences are not served"),
        ("full", "RESOURCE_EXHAUSTED", "holds 10 requests"),
        ("bad", "UNAVAILABLE", "no such field"),
        ("down", "UNAVAILABLE", "is restarting"),
        ("late", "DEADLINE_EXCEEDED", "deadline passed"),
        ("broken", "INTERNAL", "out of order"),
        ("crash", "INTERNAL", "internal error; the server's log has it under request id"),
    ],
)
def test_errors(client: triton.InferenceServerClient, model: str, status: str, words: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [given(floats(1))])
    assert caught.value.status() == f"StatusCode.{status}"
    assert words in caught.value.message()
    assert "secret" not in caught.value.message()


def test_a_refusal_says_when_to_come_back(stub: Stub) -> None:
    request = service_pb2.ModelInferRequest(model_name="full", raw_input_contents=[b"\0\0\0\0"])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request)
    told = dict(caught.value.trailing_metadata())
    assert (told["retry-after"], told["retry-after-ms"]) == ("1", "250")
    assert told["x-request-id"]
