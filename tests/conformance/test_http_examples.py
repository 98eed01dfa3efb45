"""What Triton's example programs for HTTP do, with the same calls and the same checks."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.http as httpclient
import tritonclient.http.aio as aioclient
from tritonclient.http.auth import BasicAuth
from tritonclient.utils import InferenceServerException

from tests.conformance.conftest import EXAMPLE_MODELS
from tests.conformance.pairs import BLOBS, LEFT, MINUS_ONES, NULLS, ONES, check_pair, numbers, strings
from tests.conformance.sequences import Example, Step, dyna, plain, steps
from tests.conformance.served import Served

QUERY = {"test_1": 1, "test_2": 2}


@pytest.fixture
def client(served: Served) -> Iterator[httpclient.InferenceServerClient]:
    """A client of the shared server."""
    with closing(httpclient.InferenceServerClient(served.http, concurrency=2)) as client:
        yield client


def pair(left: npt.NDArray[np.int32], right: npt.NDArray[np.int32], binary: bool) -> list[httpclient.InferInput]:
    """INPUT0 as `binary` says, INPUT1 in binary."""
    inputs = [httpclient.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    inputs[0].set_data_from_numpy(left, binary_data=binary)
    inputs[1].set_data_from_numpy(right, binary_data=True)
    return inputs


def outputs(binary: bool) -> list[httpclient.InferRequestedOutput]:
    """OUTPUT0 in binary, OUTPUT1 as `binary` says."""
    return [
        httpclient.InferRequestedOutput("OUTPUT0", binary_data=True),
        httpclient.InferRequestedOutput("OUTPUT1", binary_data=binary),
    ]


@pytest.mark.parametrize("response", [None, "gzip", "deflate"])
@pytest.mark.parametrize("request_", [None, "gzip", "deflate"])
def test_infer(client: httpclient.InferenceServerClient, request_: str | None, response: str | None) -> None:
    """simple_http_infer_client, with each compression."""
    squeezed = {"request_compression_algorithm": request_, "response_compression_algorithm": response}
    inputs = pair(LEFT, MINUS_ONES, binary=False)
    result = client.infer("simple", inputs, outputs=outputs(binary=False), query_params=QUERY, **squeezed)
    check_pair(result, LEFT, MINUS_ONES)
    assert len(client.get_inference_statistics(model_name="simple")["model_stats"]) == 1
    check_pair(client.infer("simple", inputs, outputs=None, query_params=QUERY, **squeezed), LEFT, MINUS_ONES)


def test_infer_of_an_unknown_model(client: httpclient.InferenceServerClient) -> None:
    """simple_http_infer_client's last check."""
    with pytest.raises(InferenceServerException) as caught:
        client.infer("wrong_model_name", pair(LEFT, MINUS_ONES, binary=False))
    assert caught.value.message().startswith("Request for unknown model")


def test_async_infer(client: httpclient.InferenceServerClient) -> None:
    """simple_http_async_infer_client."""
    inputs, wanted = pair(LEFT, ONES, binary=True), outputs(binary=True)
    asked = [client.async_infer(model_name="simple", inputs=inputs, outputs=wanted) for _ in range(2)]
    for each in asked:
        check_pair(each.get_result(), LEFT, ONES)


async def test_aio_infer(served: Served) -> None:
    """simple_http_aio_infer_client."""
    inputs, wanted = pair(LEFT, MINUS_ONES, binary=False), outputs(binary=False)
    async with aioclient.InferenceServerClient(served.http) as client:
        check_pair(await client.infer("simple", inputs, outputs=wanted, query_params=QUERY), LEFT, MINUS_ONES)
        assert len((await client.get_inference_statistics(model_name="simple"))["model_stats"]) == 1
        check_pair(await client.infer("simple", inputs, query_params=QUERY), LEFT, MINUS_ONES)
        with pytest.raises(InferenceServerException) as caught:
            await client.infer("wrong_model_name", inputs, outputs=wanted)
        assert caught.value.message().startswith("Request for unknown model")
        both = await asyncio.gather(client.infer("simple", inputs, outputs=wanted), client.infer("simple", inputs))
        for result in both:
            check_pair(result, LEFT, MINUS_ONES)


def test_health_and_metadata(client: httpclient.InferenceServerClient) -> None:
    """simple_http_health_metadata."""
    assert client.is_server_live(query_params=QUERY)
    assert client.is_server_ready()
    assert client.is_model_ready("simple")
    assert client.get_server_metadata()["name"] == "triton"
    assert client.get_model_metadata("simple", query_params=QUERY)["name"] == "simple"
    with pytest.raises(InferenceServerException) as caught:
        client.get_model_metadata("wrong_model_name")
    assert "Request for unknown model" in caught.value.message()


def test_model_control(controlled: Served) -> None:
    """simple_http_model_control."""
    with closing(httpclient.InferenceServerClient(controlled.http)) as client:
        assert len(client.get_model_repository_index()) == len(EXAMPLE_MODELS) == 7
        client.load_model("simple")
        assert client.is_model_ready("simple")
        with pytest.raises(InferenceServerException) as caught:
            client.load_model("simple", config='"parameters": {"config": {{"max_batch_size": "16"}}}')
        assert "failed to load" in caught.value.message()
        client.load_model("simple", config='{"max_batch_size":"16"}')
        assert client.get_model_config("simple")["max_batch_size"] == 16
        client.unload_model("simple")
        assert not client.is_model_ready("simple")
        with pytest.raises(InferenceServerException) as caught:
            client.load_model("wrong_model_name")
        assert "failed to load" in caught.value.message()


@pytest.mark.parametrize("examples", [plain(100), dyna(100)], ids=["plain", "dyna"])
def test_sequences(client: httpclient.InferenceServerClient, examples: list[Example]) -> None:
    """simple_http_sequence_sync_infer_client, and with --dyna."""
    for example in examples:
        assert [ask(client, step) for step in steps(example)] == example.answers


def ask(client: httpclient.InferenceServerClient, step: Step) -> int:
    """The answer to one request of a sequence."""
    given = httpclient.InferInput("INPUT", step.value.shape, "INT32")
    given.set_data_from_numpy(step.value)
    result = client.infer(
        model_name=step.model,
        inputs=[given],
        outputs=[httpclient.InferRequestedOutput("OUTPUT")],
        sequence_id=step.sequence_id,
        sequence_start=step.start,
        sequence_end=step.end,
    )
    return int(result.as_numpy("OUTPUT")[0][0])


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_strings(client: httpclient.InferenceServerClient, binary: bool) -> None:
    """simple_http_string_infer_client's sums."""
    inputs = [httpclient.InferInput(name, [1, 16], "BYTES") for name in ("INPUT0", "INPUT1")]
    inputs[0].set_data_from_numpy(strings(LEFT), binary_data=binary)
    inputs[1].set_data_from_numpy(strings(ONES), binary_data=not binary)
    result = client.infer(model_name="simple_string", inputs=inputs, outputs=outputs(binary))
    np.testing.assert_array_equal(numbers(result.as_numpy("OUTPUT0")), LEFT + ONES)
    np.testing.assert_array_equal(numbers(result.as_numpy("OUTPUT1")), LEFT - ONES)


@pytest.mark.parametrize("values", [NULLS, BLOBS], ids=["nulls", "blobs"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_strings_are_bytes(
    client: httpclient.InferenceServerClient, values: npt.NDArray[np.object_], binary: bool
) -> None:
    """simple_http_string_infer_client's strings with zero bytes."""
    given = httpclient.InferInput("INPUT0", values.shape, "BYTES")
    given.set_data_from_numpy(values, binary_data=binary)
    wanted = [httpclient.InferRequestedOutput("OUTPUT0", binary_data=binary)]
    found = client.infer(model_name="simple_identity", inputs=[given], outputs=wanted).as_numpy("OUTPUT0")
    as_bytes = [each if isinstance(each, bytes) else str(each).encode() for each in found.flat]
    assert as_bytes == [bytes(each) for each in values.flat]


def test_many_clients(served: Served) -> None:
    """memory_growth_test over HTTP."""
    for _ in range(5):
        with closing(httpclient.InferenceServerClient(served.http)) as client:
            given = httpclient.InferInput("INPUT0", [1, 16], "INT32")
            given.set_data_from_numpy(LEFT)
            wanted = [httpclient.InferRequestedOutput("OUTPUT0")]
            found = client.infer(model_name="custom_identity_int32", inputs=[given], outputs=wanted)
            assert found.as_numpy("OUTPUT0").dtype == np.int32
            np.testing.assert_array_equal(found.as_numpy("OUTPUT0"), LEFT)


def test_plugin(client: httpclient.InferenceServerClient) -> None:
    """The client's plugin for basic authentication adds a header; a server without it takes no offence."""
    client.register_plugin(BasicAuth("username", "password"))
    check_pair(client.infer("simple", pair(LEFT, ONES, binary=True)), LEFT, ONES)
    client.unregister_plugin()
