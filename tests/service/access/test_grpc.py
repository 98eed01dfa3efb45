"""Who may ask what over gRPC, with Triton's client and with the protocol alone."""

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf.wrappers_pb2 import Int32Value, StringValue
from tritonclient.utils import InferenceServerException

from tests.service.access.served import KEYS, Served


@pytest.fixture
def client(server: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


def bearer(tenant: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[tenant]}"}


def tensors() -> list[triton.InferInput]:
    given = triton.InferInput("INPUT0", [1, 2], "FP32")
    given.set_data_from_numpy(np.ones((1, 2), np.float32))
    return [given]


def refusal(ask: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InferenceServerException) as caught:
        ask(*arguments, **options)
    return str(caught.value.status())


def test_health_needs_no_key(client: triton.InferenceServerClient, server: Served) -> None:
    assert (client.is_server_live(), client.is_server_ready()) == (True, True)
    assert client.get_server_metadata().name == "batchyard"
    with grpc.insecure_channel(server.grpc) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", StringValue.SerializeToString, Int32Value.FromString
        )
        assert check(StringValue()).value == 1


def test_all_else_does(client: triton.InferenceServerClient) -> None:
    unauthenticated = "StatusCode.UNAUTHENTICATED"
    assert refusal(client.infer, "identity", tensors()) == unauthenticated
    assert refusal(client.is_model_ready, "identity") == unauthenticated
    assert refusal(client.get_model_repository_index) == unauthenticated
    assert refusal(client.load_model, "identity") == unauthenticated
    unknown = {"x-api-key": "by_unknown"}
    assert refusal(client.infer, "identity", tensors(), headers=unknown) == unauthenticated
    with pytest.raises(InferenceServerException) as caught:
        client.infer("identity", tensors(), headers=unknown)
    assert "by_unknown" not in str(caught.value)


def test_either_header_opens(client: triton.InferenceServerClient) -> None:
    for headers in (bearer("app"), {"x-api-key": KEYS["app"]}):
        assert client.infer("identity", tensors(), headers=headers).as_numpy("OUTPUT0").tolist() == [[1, 1]]


def test_scopes(client: triton.InferenceServerClient) -> None:
    denied = "StatusCode.PERMISSION_DENIED"
    for tenant in ("app", "watch"):
        assert refusal(client.load_model, "identity", headers=bearer(tenant)) == denied
        assert refusal(client.update_log_settings, {"log_info": True}, headers=bearer(tenant)) == denied
    client.load_model("identity", headers=bearer("ops"))
    assert client.get_log_settings(headers=bearer("ops"))
    assert client.get_inference_statistics(headers=bearer("watch"))
    assert refusal(client.get_inference_statistics, headers=bearer("app")) == denied
    for tenant in ("ops", "watch"):
        assert refusal(client.infer, "identity", tensors(), headers=bearer(tenant)) == denied


def test_a_tenant_knows_only_what_it_may_ask(client: triton.InferenceServerClient) -> None:
    narrow, denied = bearer("narrow"), "StatusCode.PERMISSION_DENIED"
    index = client.get_model_repository_index(headers=narrow)
    assert {model.name for model in index.models} == {"echo", "identity"}
    for name in ("slow", "nothing"):
        assert refusal(client.infer, name, tensors(), headers=narrow) == denied
        assert refusal(client.is_model_ready, name, headers=narrow) == denied
        assert refusal(client.get_model_metadata, name, headers=narrow) == denied
        assert refusal(client.get_model_config, name, headers=narrow) == denied
    assert client.is_model_ready("identity", headers=narrow)


def test_streams_are_admitted_request_by_request(client: triton.InferenceServerClient) -> None:
    found: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: found.put((result, error)), headers=bearer("tight"))
    for number in range(3):
        client.async_stream_infer("identity", tensors(), request_id=str(number))
    answers = [found.get(timeout=20) for _ in range(3)]
    client.stop_stream()
    assert [error is None for _, error in answers].count(True) == 2
    (refused,) = [error for _, error in answers if error is not None]
    assert "may use 2 requests within 3600 s" in refused.message()


def test_streams_tell_nothing_of_models_that_may_not_be_asked(client: triton.InferenceServerClient) -> None:
    found: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: found.put((result, error)), headers=bearer("blind"))
    for name in ("echo", "nothing"):
        client.async_stream_infer(name, tensors())
    told = [found.get(timeout=20)[1].message() for _ in range(2)]
    client.stop_stream()
    assert told == [f"this key may not ask {name!r}; it may ask identity" for name in ("echo", "nothing")]


def test_what_is_left_goes_home_behind_the_answer(server: Served) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = triton.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = triton.service_pb2.ModelReadyRequest(name="identity")
        _, call = stub.ModelReady.with_call(request, metadata=[("x-api-key", KEYS["app"])])
    trailing = dict(call.trailing_metadata())
    assert trailing["x-ratelimit-limit-requests"] == "1000"
    assert trailing["x-ratelimit-limit-engine-seconds"] == "100"


def test_a_refusal_tells_it_too(server: Served) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = triton.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = triton.service_pb2.ModelMetadataRequest(name="nothing")
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelMetadata(request, metadata=[("x-api-key", KEYS["app"])])
        assert dict(caught.value.trailing_metadata())["x-ratelimit-limit-requests"] == "1000"
