"""ModelStreamInfer, asked by the unmodified tritonclient and by a bare stub."""

import queue
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.api.grpc import stream_infer
from service.api.grpc.stream_infer import MOST_IN_HAND
from tests.service.api.grpc.gateways import GrpcGateway
from tests.service.api.grpc.serving import MAX_BODY_BYTES, GrpcAddress
from tests.service.api.grpc.test_infer import given

Request = service_pb2.ModelInferRequest
Response = service_pb2.ModelStreamInferResponse
Stub = service_pb2_grpc.GRPCInferenceServiceStub
Answers = "queue.Queue[tuple[triton.InferResult | None, InferenceServerException | None]]"


@pytest.fixture
def answers(client: triton.InferenceServerClient) -> Iterator[Any]:
    """Of the stream that `client` has open."""
    found: Any = queue.Queue()
    client.start_stream(lambda result, error: found.put((result, error)))
    yield found
    client.stop_stream()


def floats(*values: float) -> triton.InferInput:
    return given(np.array([values], np.float32))


def whole(*values: int) -> triton.InferInput:
    return given(np.array(values, np.int32), "INT32", "IN")


def request_of(model: str, request_id: str = "", **parameters: object) -> Request:
    request = Request(model_name=model, id=request_id, raw_input_contents=[b"\0\0\0\0"])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
    for name, value in parameters.items():
        match value:
            case bool():
                request.parameters[name].bool_param = value
            case int():
                request.parameters[name].int64_param = value
            case str():
                request.parameters[name].string_param = value
    return request


def repeat(request_id: str, *values: int, **parameters: bool) -> Request:
    request = Request(model_name="repeat", id=request_id, raw_input_contents=[np.array(values, np.int32).tobytes()])
    request.inputs.add(name="IN", datatype="INT32", shape=[len(values)])
    for name, value in parameters.items():
        request.parameters[name].bool_param = value
    return request


def told(response: Response) -> tuple[str, list[int], bool]:
    """Id, values and whether it is the final one."""
    inner = response.infer_response
    values = [np.frombuffer(raw, np.int32)[0] for raw in inner.raw_output_contents]
    return inner.id, values, inner.parameters["triton_final_response"].bool_param


def test_answers_come_in_order_each_final(client: triton.InferenceServerClient, answers: Any) -> None:
    for number in range(20):
        client.async_stream_infer("identity", [floats(number)], request_id=str(number))
    for number in range(20):
        result, error = answers.get(timeout=10)
        assert error is None
        assert result.get_response().id == str(number)
        assert result.as_numpy("OUTPUT0").tolist() == [[number]]
        assert result.get_response().parameters["triton_final_response"].bool_param


def test_a_slow_one_is_waited_for_while_the_others_run(stub: Stub, gateway: GrpcGateway) -> None:
    gateway.most = 0
    asked = [request_of("identity", f"{delay}", delay_ms=delay) for delay in (400, 100, 110, 120)]
    assert [r.infer_response.id for r in stub.ModelStreamInfer(iter(asked))] == ["400", "100", "110", "120"]
    assert gateway.most == 4


def test_an_error_is_an_answer_in_its_place(client: triton.InferenceServerClient, answers: Any) -> None:
    wrong = given(np.zeros((1, 1), np.float32))
    wrong.set_shape([1, 2])
    asked: list[Callable[[], None]] = [
        partial(client.async_stream_infer, "identity", [floats(1)], request_id="0"),
        partial(client.async_stream_infer, "unknown", [floats(1)], request_id="1"),
        partial(client.async_stream_infer, "broken", [floats(1)], request_id="2"),
        partial(client.async_stream_infer, "identity", [wrong], request_id="3"),
        partial(client.async_stream_infer, "crash", [floats(1)], request_id="4"),
        partial(client.async_stream_infer, "identity", [floats(5)], request_id="5"),
    ]
    for ask in asked:
        ask()
    words = [None, "no model 'unknown'", "out of order", "takes 8 bytes", "internal error", None]
    for expected in words:
        result, error = answers.get(timeout=10)
        assert (error is None) is (expected is None)
        if expected is None:
            assert result.as_numpy("OUTPUT0") is not None
        else:
            assert expected in error.message()


def test_what_an_error_tells(stub: Stub) -> None:
    bad, broken = stub.ModelStreamInfer(iter([request_of("unknown", "a"), request_of("broken", "b")]))
    assert (bad.infer_response.id, bad.infer_response.model_name) == ("a", "")
    assert (broken.infer_response.id, broken.infer_response.model_name) == ("b", "broken")
    assert broken.infer_response.parameters["triton_final_response"].bool_param


def test_an_error_ends_the_stream_where_the_caller_wants_its_status(stub: Stub) -> None:
    call = stub.ModelStreamInfer(iter([request_of("unknown")]), metadata=(("triton_grpc_error", "true"),))
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_decoupled_answers(stub: Stub) -> None:
    assert [told(r) for r in stub.ModelStreamInfer(iter([repeat("a", 1, 2, 3)]))] == [
        ("a", [1], False),
        ("a", [2], False),
        ("a", [3], False),
    ]
    assert list(stub.ModelStreamInfer(iter([repeat("none")]))) == []


def test_the_empty_final_answer_comes_where_it_is_asked_for(client: triton.InferenceServerClient, answers: Any) -> None:
    client.async_stream_infer("repeat", [whole(4)], request_id="a", enable_empty_final_response=True)
    first, last = (answers.get(timeout=10)[0].get_response() for _ in range(2))
    assert (first.id, first.parameters["triton_final_response"].bool_param, len(first.outputs)) == ("a", False, 1)
    assert (last.id, last.parameters["triton_final_response"].bool_param, len(last.outputs)) == ("a", True, 0)
    assert (last.model_name, last.model_version) == ("repeat", "")


def test_decoupled_answers_wait_for_nobody(stub: Stub) -> None:
    asked = [request_of("identity", "slow", delay_ms=300), repeat("a", 1, 2), repeat("b", 3, -1)]
    found = list(stub.ModelStreamInfer(iter(asked)))
    ids = [r.infer_response.id for r in found]
    assert ids[-1] == "slow"
    assert sorted(ids[:-1]) == ["a", "a", "b", "b"]
    assert [r.error_message for r in found if r.error_message] == ["there is no -1"]


def test_requests_of_one_sequence_run_one_after_another(stub: Stub, gateway: GrpcGateway) -> None:
    steps = [request_of("identity", f"s{n}", sequence_id=7, sequence_start=n == 0, delay_ms=20) for n in range(5)]
    gateway.most = 0
    assert len(list(stub.ModelStreamInfer(iter(steps)))) == 5
    assert gateway.most == 1
    both = [request_of("identity", "", sequence_id=key, delay_ms=50) for key in ("a", "b", "a", "b")]
    assert len(list(stub.ModelStreamInfer(iter(both)))) == 4
    assert gateway.most == 2


def test_requests_in_hand_are_bounded(stub: Stub, gateway: GrpcGateway) -> None:
    """The caller writes on, but what is not read waits with it."""
    gateway.most = 0
    many = (request_of("identity", delay_ms=1000) for _ in range(2 * MOST_IN_HAND))
    assert len(list(stub.ModelStreamInfer(many))) == 2 * MOST_IN_HAND
    assert gateway.most == MOST_IN_HAND


def test_a_caller_that_leaves_ends_its_requests(stub: Stub, gateway: GrpcGateway) -> None:
    gateway.streams.clear()
    call = stub.ModelStreamInfer(iter([repeat("a", 1, gateway.never), request_of("slow")]))
    assert told(next(call)) == ("a", [1], False)
    for _ in range(2):
        assert gateway.asked.acquire(timeout=10)
    call.cancel()
    for _ in range(2):
        assert gateway.cancelled.acquire(timeout=10)
    deadline = time.monotonic() + 10
    while not gateway.streams[0].closed and time.monotonic() < deadline:
        time.sleep(0.005)
    assert gateway.streams[0].closed


def test_bytes_that_are_no_message_are_one_error(served: GrpcAddress) -> None:
    with grpc.insecure_channel(served.url) as channel:
        call = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer", response_deserializer=Response.FromString
        )
        bad, good = call(iter([b"\xff\xff", request_of("identity", "a").SerializeToString()]))
    assert "no inference.ModelInferRequest" in bad.error_message
    assert good.infer_response.id == "a"


def test_who_does_not_read_is_cut_off(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while: until then the answers wait."""
    monkeypatch.setattr(stream_infer, "SLOWEST_READER", 0.3)
    size = MAX_BODY_BYTES // 4 - 100
    request = Request(model_name="identity", raw_input_contents=[bytes(4 * size)])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, size])
    call = stub.ModelStreamInfer(iter([request] * 20))
    assert next(call).infer_response.model_name == "identity"
    time.sleep(1)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "lay for 0.3 s and was not read" in caught.value.details()
