"""The unmodified tritonclient against the HTTP surface, over sockets."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from engines.tensor import DATA_TYPES
from tests.service.api.models import TestGateway
from tests.service.api.serving import Address

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "UINT8": [0, 1, 2**8 - 1],
    "UINT16": [0, 1, 2**16 - 1],
    "UINT32": [0, 1, 2**32 - 1],
    "UINT64": [0, 1, 2**64 - 1],
    "INT8": [-(2**7), 0, 2**7 - 1],
    "INT16": [-(2**15), 0, 2**15 - 1],
    "INT32": [-(2**31), 0, 2**31 - 1],
    "INT64": [-(2**63), 0, 2**63 - 1],
    "FP16": [-1.5, 0.0, 65504.0],
    "FP32": [0.1, float("nan"), float("-inf")],
    "FP64": [1e300, float("nan"), float("inf")],
    "BYTES": [b"", "Grüße".encode(), b'a "quoted" \\ word'],
}
VERSION = "2"


def sample(datatype: str) -> np.ndarray[Any, Any]:
    return np.array([VALUES[datatype]], DATA_TYPES[datatype].numpy)


def given(array: np.ndarray[Any, Any], datatype: str, binary: bool, name: str = "INPUT0") -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    return tensor.set_data_from_numpy(array, binary_data=binary)


@pytest.fixture
def client(address: Address) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address.netloc, concurrency=2) as client:
        yield client


@pytest.fixture
async def aio_client(address: Address) -> AsyncIterator[triton_aio.InferenceServerClient]:
    async with triton_aio.InferenceServerClient(address.netloc) as client:
        yield client


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize(
    ("datatype", "binary_in"),
    [(name, binary) for name in DATA_TYPES for binary in (True, False) if (name, binary) != ("FP16", False)],
)
def test_round_trip(client: triton.InferenceServerClient, datatype: str, binary_in: bool, binary_out: bool) -> None:
    """FP16 as JSON is left out: the client does not write it."""
    array = sample(datatype)
    wanted = [triton.InferRequestedOutput("OUTPUT0", binary_data=binary_out)]
    result = client.infer(
        f"identity_{datatype.lower()}", [given(array, datatype, binary_in)], outputs=wanted, request_id="r1"
    )
    response = result.get_response()
    assert (response["id"], response["model_version"]) == ("r1", VERSION)
    assert ("data" in response["outputs"][0]) is not binary_out
    answer = result.as_numpy("OUTPUT0")
    if datatype == "BYTES" and not binary_out:
        answer = np.array([[item.encode() for item in answer[0]]], object)
    np.testing.assert_array_equal(answer, array)
    assert answer.dtype == array.dtype


@pytest.mark.parametrize("datatype", list(DATA_TYPES))
async def test_round_trip_asyncio(aio_client: triton_aio.InferenceServerClient, datatype: str) -> None:
    array = sample(datatype)
    result = await aio_client.infer(f"identity_{datatype.lower()}", [given(array, datatype, True)])
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)


def test_without_named_outputs_all_come_in_binary(client: triton.InferenceServerClient) -> None:
    a, b = np.array([[1.0, 2.0]], np.float32), np.array([[10.0, 20.0]], np.float32)
    result = client.infer("add_sub", [given(a, "FP32", True, "INPUT0"), given(b, "FP32", False, "INPUT1")])
    assert all("binary_data_size" in output["parameters"] for output in result.get_response()["outputs"])
    np.testing.assert_array_equal(result.as_numpy("SUM"), a + b)
    np.testing.assert_array_equal(result.as_numpy("DIFFERENCE"), a - b)


def test_requested_outputs_come_alone_and_in_order(client: triton.InferenceServerClient) -> None:
    a = np.array([[1.0, 2.0]], np.float32)
    inputs = [given(a, "FP32", True, "INPUT0"), given(a, "FP32", True, "INPUT1")]
    wanted = [
        triton.InferRequestedOutput("DIFFERENCE", binary_data=False),
        triton.InferRequestedOutput("SUM", binary_data=True),
    ]
    result = client.infer("add_sub", inputs, outputs=wanted)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["DIFFERENCE", "SUM"]
    np.testing.assert_array_equal(result.as_numpy("SUM"), 2 * a)
    np.testing.assert_array_equal(result.as_numpy("DIFFERENCE"), 0 * a)
    alone = client.infer("add_sub", inputs, outputs=wanted[1:])
    assert alone.as_numpy("DIFFERENCE") is None


@pytest.mark.parametrize("size", [1, 50_000])
@pytest.mark.parametrize("sent", ["gzip", "deflate", None])
@pytest.mark.parametrize("answered", ["gzip", "deflate", None])
def test_compression(client: triton.InferenceServerClient, sent: str | None, answered: str | None, size: int) -> None:
    array = np.arange(size, dtype=np.float32).reshape(1, -1)
    result = client.infer(
        "identity",
        [given(array, "FP32", True)],
        request_compression_algorithm=sent,
        response_compression_algorithm=answered,
    )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
async def test_compression_asyncio(aio_client: triton_aio.InferenceServerClient, algorithm: str) -> None:
    array = np.arange(5000, dtype=np.float32).reshape(1, -1)
    result = await aio_client.infer(
        "identity",
        [given(array, "FP32", False)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)


@pytest.mark.parametrize("binary", [True, False])
def test_classification(client: triton.InferenceServerClient, binary: bool) -> None:
    scores = np.array([[0.25, 0.5, -1.0, 4.0], [0.0, np.nan, 3.5, 1.0]], np.float32)
    wanted = [triton.InferRequestedOutput("OUTPUT0", binary_data=binary, class_count=2)]
    answer = client.infer("labelled", [given(scores, "FP32", True)], outputs=wanted).as_numpy("OUTPUT0")
    expected = [["4.0:3", "0.5:1:dog"], ["3.5:2:eel", "1.0:3"]]
    assert [[item.decode() if binary else item for item in row] for row in answer] == expected


def test_parameters_reach_the_gateway(client: triton.InferenceServerClient, gateway: TestGateway) -> None:
    before = gateway.clock()
    tensor = given(sample("FP32"), "FP32", True)
    client.infer("identity", [tensor], priority=3, timeout=2_000_000, parameters={"mine": "x"}, model_version="1")
    last = gateway.last
    assert last is not None
    assert (last.priority, last.version, last.parameters["mine"]) == (3, "1", "x")
    assert before + 2 <= last.deadline <= gateway.clock() + 2


def test_control_plane(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("identity")
    assert client.is_model_ready("identity", "1")
    assert not client.is_model_ready("bad")
    assert not client.is_model_ready("unknown")
    assert not client.is_model_ready("identity", "99")
    assert client.get_server_metadata()["name"] == "batchyard"
    metadata = client.get_model_metadata("identity", "1")
    assert metadata == {
        "name": "identity",
        "versions": ["1", "2"],
        "platform": "test",
        "inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [-1, -1]}],
        "outputs": [{"name": "OUTPUT0", "datatype": "FP32", "shape": [-1, -1]}],
    }
    config = client.get_model_config("identity")
    assert (config["name"], config["max_batch_size"], config["input"][0]["dims"]) == ("identity", 8, [-1])


def test_repository_index(client: triton.InferenceServerClient) -> None:
    index = client.get_model_repository_index()
    assert {"name": "identity", "version": "2", "state": "READY"} in index
    bad = {"name": "bad", "state": "UNAVAILABLE", "reason": "config.pbtxt:3: no such field"}
    assert bad in index
    assert "minilm" not in {entry["name"] for entry in index}, "a route is no model of the repository"


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("unknown", "404", "no model 'unknown'"),
        ("wrong", "400", "input 'INPUT0' is wrong"),
        ("unsupported", "400", "sequences are not served"),
        ("full", "429", "holds 10 requests"),
        ("bad", "503", "no such field"),
        ("down", "503", "is restarting"),
        ("late", "504", "deadline passed"),
        ("broken", "500", "out of order"),
        ("crash", "500", "internal error"),
    ],
)
def test_errors(client: triton.InferenceServerClient, model: str, status: str, words: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [given(sample("FP32"), "FP32", True)])
    assert caught.value.status() == status
    assert words in caught.value.message()


async def test_errors_asyncio(aio_client: triton_aio.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="no model 'unknown'"):
        await aio_client.infer("unknown", [given(sample("FP32"), "FP32", True)])
