"""What Triton's example programs for gRPC do with its client library, with the same calls and the same checks."""

import asyncio
import os
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as aioclient
from tritonclient.grpc.auth import BasicAuth
from tritonclient.utils import InferenceServerException

from tests.conformance.conftest import EXAMPLE_MODELS
from tests.conformance.pairs import BLOBS, LEFT, NULLS, ONES, check_pair, numbers, strings
from tests.conformance.sequences import Example, Step, answers_of, dyna, plain, steps
from tests.conformance.served import VARIABLE, Served

SECONDS = 20.0
Answer = tuple[grpcclient.InferResult | None, InferenceServerException | None]


@pytest.fixture
def client(served: Served) -> Iterator[grpcclient.InferenceServerClient]:
    """A client of the shared server."""
    with grpcclient.InferenceServerClient(served.grpc) as client:
        yield client


def pair() -> list[grpcclient.InferInput]:
    """INPUT0 counts from 0, INPUT1 is ones."""
    inputs = [grpcclient.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    inputs[0].set_data_from_numpy(LEFT)
    inputs[1].set_data_from_numpy(ONES)
    return inputs


def outputs() -> list[grpcclient.InferRequestedOutput]:
    """Both."""
    return [grpcclient.InferRequestedOutput(name) for name in ("OUTPUT0", "OUTPUT1")]


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer(client: grpcclient.InferenceServerClient, compression: str | None) -> None:
    """simple_grpc_infer_client, with each compression."""
    given: dict[str, Any] = {"model_name": "simple", "inputs": pair(), "compression_algorithm": compression}
    result = client.infer(**given, outputs=outputs(), client_timeout=SECONDS, headers={"test": "1"})
    check_pair(result, LEFT, ONES)
    assert len(client.get_inference_statistics(model_name="simple").model_stats) == 1
    check_pair(client.infer(**given, outputs=None), LEFT, ONES)


def test_async_infer(client: grpcclient.InferenceServerClient) -> None:
    """simple_grpc_async_infer_client."""
    answers: queue.Queue[Answer] = queue.Queue()
    client.async_infer("simple", pair(), lambda result, error: answers.put((result, error)), outputs=outputs())
    result, error = answers.get(timeout=SECONDS)
    assert error is None
    check_pair(result, LEFT, ONES)


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
async def test_aio_infer(served: Served, compression: str | None) -> None:
    """simple_grpc_aio_infer_client, with each compression."""
    given: dict[str, Any] = {"model_name": "simple", "inputs": pair(), "compression_algorithm": compression}
    async with aioclient.InferenceServerClient(served.grpc) as client:
        check_pair(await client.infer(**given, outputs=outputs(), headers={"test": "1"}), LEFT, ONES)
        assert len((await client.get_inference_statistics(model_name="simple")).model_stats) == 1
        for result in await asyncio.gather(client.infer(**given), client.infer(**given)):
            check_pair(result, LEFT, ONES)


def test_custom_arguments(served: Served) -> None:
    """simple_grpc_custom_args_client."""
    arguments = [
        ("grpc.max_send_message_length", 1024 * 1024),
        ("grpc.max_receive_message_length", 1024 * 1024),
        ("grpc.keepalive_time_ms", 2**31 - 1),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", False),
        ("grpc.http2.max_pings_without_data", 2),
        ("grpc.dns_enable_srv_queries", 1),
    ]
    with grpcclient.InferenceServerClient(served.grpc, channel_args=arguments) as client:
        check_pair(client.infer("simple", pair(), outputs=outputs(), headers={"test": "1"}), LEFT, ONES)


def test_keepalive(served: Served) -> None:
    """simple_grpc_keepalive_client."""
    options = grpcclient.KeepAliveOptions(
        keepalive_time_ms=2**31 - 1,
        keepalive_timeout_ms=20_000,
        keepalive_permit_without_calls=False,
        http2_max_pings_without_data=2,
    )
    with grpcclient.InferenceServerClient(served.grpc, keepalive_options=options) as client:
        check_pair(client.infer("simple", pair(), outputs=outputs(), headers={"test": "1"}), LEFT, ONES)


def test_health_and_metadata(client: grpcclient.InferenceServerClient) -> None:
    """simple_grpc_health_metadata."""
    headers = {"test": "1", "dummy": "2"}
    assert client.is_server_live(headers=headers)
    assert client.is_server_ready()
    assert client.is_model_ready("simple")
    assert client.get_server_metadata().name == "triton"
    assert client.get_model_metadata("simple", headers=headers).name == "simple"
    with pytest.raises(InferenceServerException) as caught:
        client.get_model_metadata("wrong_model_name")
    assert "Request for unknown model" in caught.value.message()
    assert client.get_model_config("simple").config.name == "simple"


def test_model_control(controlled: Served) -> None:
    """simple_grpc_model_control."""
    with grpcclient.InferenceServerClient(controlled.grpc) as client:
        assert len(client.get_model_repository_index().models) == len(EXAMPLE_MODELS) == 7
        client.load_model("simple")
        assert client.is_model_ready("simple")
        with pytest.raises(InferenceServerException) as caught:
            client.load_model("simple", config='"parameters": {"config": {{"max_batch_size": "16"}}}')
        assert "failed to load" in caught.value.message()
        client.load_model("simple", config='{"max_batch_size":"16"}')
        assert client.get_model_config("simple").config.max_batch_size == 16
        client.unload_model("simple")
        assert not client.is_model_ready("simple")
        with pytest.raises(InferenceServerException) as caught:
            client.load_model("wrong_model_name")
        assert "failed to load" in caught.value.message()


@pytest.mark.skipif(os.environ.get(VARIABLE) == "1", reason="Triton 2.51 ends where later ones answer with this error")
def test_a_file_name_that_is_too_long(controlled: Served) -> None:
    """simple_grpc_model_control's check of a `file:` override that no file system can hold."""
    with grpcclient.InferenceServerClient(controlled.grpc) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.load_model("simple", config="{}", files={f"file:{'A' * 256}": b"a"})
        assert caught.value.status() == "StatusCode.INTERNAL"
        assert "failed to poll from model repository" in caught.value.message()
        assert client.is_server_live()


@pytest.mark.parametrize("examples", [plain(200), dyna(200)], ids=["plain", "dyna"])
def test_sequences(client: grpcclient.InferenceServerClient, examples: list[Example]) -> None:
    """simple_grpc_sequence_sync_infer_client, and with --dyna."""
    for example in examples:
        answers = [client.infer(**request_of(step)).as_numpy("OUTPUT") for step in steps(example)]
        assert [int(answer[0][0]) for answer in answers] == example.answers


@pytest.mark.parametrize("examples", [plain(300), dyna(300)], ids=["plain", "dyna"])
def test_sequences_over_a_stream(client: grpcclient.InferenceServerClient, examples: list[Example]) -> None:
    """simple_grpc_sequence_stream_infer_client, and with --dyna."""
    received: queue.Queue[Answer] = queue.Queue()
    client.start_stream(lambda result, error: received.put((result, error)), stream_timeout=SECONDS)
    sent = [step for example in examples for step in steps(example)]
    for step in sent:
        client.async_stream_infer(**request_of(step), request_id=step.request_id)
    answers = [output_of(*received.get(timeout=SECONDS)) for _ in sent]
    client.stop_stream()
    for example in examples:
        assert answers_of(example, answers) == example.answers


@pytest.mark.parametrize("examples", [plain(400), dyna(400)], ids=["plain", "dyna"])
async def test_sequences_over_an_aio_stream(served: Served, examples: list[Example]) -> None:
    """simple_grpc_aio_sequence_stream_infer_client, and with --dyna."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for example in examples:
            for step in steps(example):
                yield {**request_of(step), "request_id": step.request_id}

    async with aioclient.InferenceServerClient(served.grpc) as client:
        stream = client.stream_infer(inputs_iterator=requests(), stream_timeout=SECONDS)
        answers = [output_of(*answer) async for answer in stream]
    assert len(answers) == sum(len(example.sent) for example in examples)
    for example in examples:
        assert answers_of(example, answers) == example.answers


def request_of(step: Step) -> dict[str, Any]:
    """The arguments of a call to the client."""
    given = grpcclient.InferInput("INPUT", list(step.value.shape), "INT32")
    given.set_data_from_numpy(step.value)
    return {
        "model_name": step.model,
        "inputs": [given],
        "outputs": [grpcclient.InferRequestedOutput("OUTPUT")],
        "sequence_id": step.sequence_id,
        "sequence_start": step.start,
        "sequence_end": step.end,
    }


def output_of(
    result: grpcclient.InferResult | None, error: InferenceServerException | None
) -> tuple[str, npt.NDArray[np.int32]]:
    """An answer's request id and OUTPUT."""
    assert error is None
    assert result is not None
    return result.get_response().id, result.as_numpy("OUTPUT")


def test_repeat(client: grpcclient.InferenceServerClient) -> None:
    """simple_grpc_custom_repeat: one request, ten responses."""
    values = np.arange(100, 110, dtype=np.int32)
    inputs = [
        grpcclient.InferInput("IN", [10], "INT32"),
        grpcclient.InferInput("DELAY", [10], "UINT32"),
        grpcclient.InferInput("WAIT", [1], "UINT32"),
    ]
    for given, data in zip(inputs, (values, np.full(10, 50, np.uint32), np.array([50], np.uint32)), strict=True):
        given.set_data_from_numpy(data)
    received: queue.Queue[Answer] = queue.Queue()
    client.start_stream(lambda result, error: received.put((result, error)))
    client.async_stream_infer("repeat_int32", inputs, outputs=[grpcclient.InferRequestedOutput("OUT")])
    found = [received.get(timeout=SECONDS) for _ in values]
    client.stop_stream()
    assert [error for _, error in found] == [None] * 10
    assert [result.as_numpy("OUT").tolist() for result, _ in found if result] == [[value] for value in values]


def test_strings(client: grpcclient.InferenceServerClient) -> None:
    """simple_grpc_string_infer_client's sums."""
    inputs = [grpcclient.InferInput(name, [1, 16], "BYTES") for name in ("INPUT0", "INPUT1")]
    inputs[0].set_data_from_numpy(strings(LEFT))
    inputs[1].set_data_from_numpy(strings(ONES))
    result = client.infer("simple_string", inputs, outputs=outputs())
    np.testing.assert_array_equal(numbers(result.as_numpy("OUTPUT0")), LEFT + ONES)
    np.testing.assert_array_equal(numbers(result.as_numpy("OUTPUT1")), LEFT - ONES)


@pytest.mark.parametrize("values", [NULLS, BLOBS], ids=["nulls", "blobs"])
def test_strings_are_bytes(client: grpcclient.InferenceServerClient, values: npt.NDArray[np.object_]) -> None:
    """simple_grpc_string_infer_client's strings with zero bytes."""
    given = grpcclient.InferInput("INPUT0", list(values.shape), "BYTES")
    given.set_data_from_numpy(values)
    result = client.infer("simple_identity", [given], outputs=[grpcclient.InferRequestedOutput("OUTPUT0")])
    assert list(result.as_numpy("OUTPUT0").flat) == [bytes(each) for each in values.flat]


def test_many_clients(served: Served) -> None:
    """memory_growth_test over gRPC."""
    for _ in range(5):
        with grpcclient.InferenceServerClient(served.grpc) as client:
            given = grpcclient.InferInput("INPUT0", [1, 16], "INT32")
            given.set_data_from_numpy(LEFT)
            result = client.infer(
                "custom_identity_int32", [given], outputs=[grpcclient.InferRequestedOutput("OUTPUT0")]
            )
            assert result.as_numpy("OUTPUT0").dtype == np.int32
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT)


def test_plugin(client: grpcclient.InferenceServerClient) -> None:
    """The client's plugin for basic authentication adds a header; a server without it takes no offence."""
    client.register_plugin(BasicAuth("username", "password"))
    check_pair(client.infer("simple", pair()), LEFT, ONES)
    client.unregister_plugin()
