"""What is wrong with a request is said at once, and costs nobody else anything."""

import gc
import string
from types import FrameType
from urllib.parse import quote

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from service.api.grpc import calls
from tests.service.api.grpc.serving import MAX_BODY_BYTES, GrpcAddress
from tests.service.api.grpc.test_infer import given

Stub = service_pb2_grpc.GRPCInferenceServiceStub
ONE = [b"\0\0\0\0"]


def request_of(raw: list[bytes] | None = None, **tensor: object) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="identity", raw_input_contents=raw or [])
    request.inputs.add(**{"name": "INPUT0", "datatype": "FP32", "shape": [1, 1], **tensor})
    return request


def contents(**fields: object) -> service_pb2.InferTensorContents:
    return service_pb2.InferTensorContents(**fields)


def param(**kinds: object) -> service_pb2.InferParameter:
    return service_pb2.InferParameter(**kinds)


def refused(stub: Stub, request: service_pb2.ModelInferRequest) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (request_of(), "input 'INPUT0' has no data; send it in raw_input_contents"),
        (request_of(ONE, contents=contents(fp32_contents=[1])), "has contents though the request has raw_input"),
        (request_of([*ONE, b"more"]), "raw_input_contents has 2 entries, there are only 1 inputs"),
        (request_of([b"\0\0\0"]), "takes 4 bytes, its entry of raw_input_contents has 3"),
        (request_of(ONE, datatype="FP8"), "input 'INPUT0': unknown datatype 'FP8'"),
        (request_of(ONE, datatype=""), "input 'INPUT0': unknown datatype ''"),
        (request_of(ONE, shape=[-1, 1]), "wanted at most 32 dimensions of 0 or more"),
        (request_of(ONE, shape=[2**62] * 4), "raw_input_contents has 4"),
        (request_of(ONE, shape=[2**63 - 1] * 100_000), "wanted at most 32 dimensions of 0 or more"),
        (request_of([b""], shape=[2**62, 2**62, 0]), "cannot be held"),
        (request_of(shape=[0, 2**62, 4]), "cannot be held"),
        (request_of(shape=[0, 2**62, 4], contents=contents()), "cannot be held"),
        (request_of(shape=[0, 2**62, 4], datatype="BYTES"), "cannot be held"),
        (request_of(contents=contents(fp32_contents=[1, 2])), "shape [1, 1] holds 1 elements, fp32_contents has 2"),
        (request_of(contents=contents(fp64_contents=[1])), "which is sent in fp32_contents; found fp64_contents"),
        (request_of(contents=contents(fp32_contents=[1], int_contents=[1])), "fp32_contents; found int_contents"),
        (request_of(datatype="FP16", contents=contents(fp32_contents=[1])), "FP16 has no typed contents"),
        (request_of(datatype="INT8", contents=contents(int_contents=[128])), "a value does not fit INT8"),
        (request_of(datatype="BYTES", raw=[b"\5\0\0\0ab"]), "ends inside element 0 of 1"),
    ],
)
def test_tensors(stub: Stub, request_: service_pb2.ModelInferRequest, words: str) -> None:
    status, message = refused(stub, request_)
    assert status == "INVALID_ARGUMENT"
    assert words in message


def test_an_input_or_output_twice(stub: Stub) -> None:
    request = request_of([*ONE, *ONE])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
    assert refused(stub, request) == ("INVALID_ARGUMENT", "input 'INPUT0' is given twice")
    request = request_of(ONE)
    for _ in range(2):
        request.outputs.add(name="OUTPUT0")
    assert refused(stub, request) == ("INVALID_ARGUMENT", "output 'OUTPUT0' is asked for twice")


def test_an_output_that_is_not_there(stub: Stub) -> None:
    request = request_of(ONE)
    request.outputs.add(name="OTHER").parameters["classification"].int64_param = 1
    assert refused(stub, request) == ("INVALID_ARGUMENT", "model 'identity' has no output 'OTHER'; it has OUTPUT0")


def test_shared_memory_is_refused(stub: Stub) -> None:
    request = request_of(ONE)
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    assert refused(stub, request)[0] == "UNIMPLEMENTED"
    request = request_of(ONE)
    request.outputs.add(name="OUTPUT0").parameters["shared_memory_region"].string_param = "region"
    assert refused(stub, request)[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mine", param(), "parameter 'mine' is sent as nothing; send it as int64_param or bool_param"),
        ("mine", param(uint64_param=1), "parameter 'mine' is sent as uint64_param"),
        ("priority", param(int64_param=-1), "parameter 'priority' is -1"),
        ("timeout", param(string_param="soon"), "parameter 'timeout' is sent as string_param; send it as int64_param"),
        ("sequence_id", param(bool_param=True), "'sequence_id' is sent as bool_param; send it as int64_param or str"),
        ("sequence_start", param(int64_param=1), "'sequence_start' is sent as int64_param; send it as bool_param"),
        ("triton_other", param(bool_param=True), "names that begin with 'triton_' are reserved"),
    ],
)
def test_parameters(stub: Stub, name: str, value: service_pb2.InferParameter, words: str) -> None:
    request = request_of(ONE)
    request.parameters[name].CopyFrom(value)
    status, message = refused(stub, request)
    assert status == "INVALID_ARGUMENT"
    assert words in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (param(int64_param=0), "'classification' is 0; it must be 1 or more"),
        (param(string_param="2"), "'classification' is sent as int64_param only"),
    ],
)
def test_classification(stub: Stub, value: service_pb2.InferParameter, words: str) -> None:
    request = request_of(ONE)
    request.outputs.add(name="OUTPUT0").parameters["classification"].CopyFrom(value)
    status, message = refused(stub, request)
    assert status == "INVALID_ARGUMENT"
    assert words in message


def test_a_version_that_is_no_number(stub: Stub) -> None:
    request = request_of(ONE)
    request.model_version = "latest"
    status, message = refused(stub, request)
    assert status == "INVALID_ARGUMENT"
    assert "'latest' must be a whole number, or empty for the newest" in message


def test_metadata(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError, match="header x-deadline-ms is 'soon'"):
        stub.ModelInfer(request_of(ONE), metadata=(("x-deadline-ms", "soon"),))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate", None])
def test_too_large_as_sent_or_inflated(client: triton.InferenceServerClient, algorithm: str | None) -> None:
    array = np.zeros((1, MAX_BODY_BYTES // 4 + 1), np.float32)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("identity", [given(array)], compression_algorithm=algorithm)
    assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
    assert client.is_server_live()


def test_answers_may_be_larger_than_requests(client: triton.InferenceServerClient) -> None:
    array = np.zeros((1, MAX_BODY_BYTES // 4 - 100), np.float32)
    assert client.infer("identity", [given(array)]).as_numpy("OUTPUT0").size == array.size


def test_bytes_that_are_no_message(served: GrpcAddress) -> None:
    with grpc.insecure_channel(served.url) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "no inference.ModelInferRequest" in caught.value.details()
        unknown = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
        with pytest.raises(grpc.RpcError) as caught:
            unknown(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("letter", ["u", "%", "ü", "語", "\U0001f600"])
def test_a_long_message_is_cut(stub: Stub, letter: str) -> None:
    """Else clients refuse the whole answer, for its headers are too large."""
    request = request_of(ONE)
    request.model_name = letter * 10_000
    status, message = refused(stub, request)
    assert status == "NOT_FOUND"
    assert message.startswith("no model '")
    assert message.endswith("...")
    assert 2000 < len(quote(message, string.punctuation.replace("%", " "))) < 3100


def test_failed_calls_leave_no_cycles(stub: Stub) -> None:
    """Of thousands a second the garbage collector would stop the world."""
    request = request_of(ONE)
    request.model_name = "unknown"
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(10):
            assert refused(stub, request)[0] == "NOT_FOUND"
        gc.collect()
        frames = [one for one in gc.garbage if isinstance(one, FrameType)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert [frame for frame in frames if frame.f_code.co_filename == calls.__file__] == []
