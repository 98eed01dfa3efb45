"""The Open Inference Protocol in plain JSON and raw bytes, without a client library."""

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.api.models import TestGateway


def infer(http: httpx.Client, tensor: dict[str, Any], model: str = "identity", **more: Any) -> dict[str, Any]:
    answer = http.post(f"/v2/models/{model}/infer", json={"inputs": [{"name": "INPUT0"} | tensor], **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2], [1.0, 2.0, 3.0, 4.0]),
        ([2, 2], [[1.0, 2.0], [3.0, 4.0]]),
        ([1, 2, 2], [[1.0, 2.0], [3.0, 4.0]]),
        ([2, 2], [[[1.0, 2.0], [3.0, 4.0]]]),
        ([2, 2], [[1, 2], [3, 4]]),
    ],
)
def test_flat_and_nested(http: httpx.Client, shape: list[int], data: list[Any]) -> None:
    output = infer(http, {"shape": shape, "datatype": "FP32", "data": data})["outputs"][0]
    assert output == {"name": "OUTPUT0", "datatype": "FP32", "shape": shape, "data": [1.0, 2.0, 3.0, 4.0]}


@pytest.mark.parametrize("datatype", ["INT32", "FP64", "BOOL"])
def test_large_and_nested(http: httpx.Client, datatype: str) -> None:
    data = (np.arange(100_000).reshape(2, 5, -1) % 2).astype(bool if datatype == "BOOL" else int).tolist()
    tensor = {"shape": [2, 5, 10_000], "datatype": datatype, "data": data}
    output = infer(http, tensor, f"identity_{datatype.lower()}")["outputs"][0]
    assert output["data"] == np.ravel(data).tolist()


def test_empty(http: httpx.Client) -> None:
    output = infer(http, {"shape": [1, 0], "datatype": "FP32", "data": []})["outputs"][0]
    assert (output["shape"], output["data"]) == ([1, 0], [])


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_not_finite_is_valid_json_both_ways(http: httpx.Client, datatype: str) -> None:
    data = ["NaN", "Infinity", "-Infinity", 0.5]
    tensor = {"shape": [1, 4], "datatype": datatype, "data": data}
    assert infer(http, tensor, f"identity_{datatype.lower()}")["outputs"][0]["data"] == data


def test_not_finite_as_python_writes_it(http: httpx.Client) -> None:
    body = json.dumps(
        {"inputs": [{"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "data": [float("nan"), float("-inf")]}]}
    )
    answer = http.post("/v2/models/identity/infer", content=body)
    assert answer.json()["outputs"][0]["data"] == ["NaN", "-Infinity"]


def test_names_and_values_keep_their_precision(http: httpx.Client) -> None:
    data = [2**64 - 1, 2**53 + 1]
    tensor = {"shape": [1, 2], "datatype": "UINT64", "data": data}
    assert infer(http, tensor, "identity_uint64")["outputs"][0]["data"] == data


def test_text_that_reads_null(http: httpx.Client) -> None:
    tensor = {"shape": [1, 2], "datatype": "BYTES", "data": ["null", "\u2028 NaN"]}
    assert infer(http, tensor, "identity_bytes")["outputs"][0]["data"] == ["null", "\u2028 NaN"]


def test_headers_of_an_answer(http: httpx.Client) -> None:
    body = {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}
    answer = http.post("/v2/models/identity/versions/1/infer", json=body, headers={"x-request-id": "mine-7"})
    found = {
        name: answer.headers[name] for name in ("x-request-id", "x-model", "x-engine", "x-queue-ms", "x-engine-ms")
    }
    assert found == {
        "x-request-id": "mine-7",
        "x-model": "identity:1",
        "x-engine": "numpy",
        "x-queue-ms": "1.500",
        "x-engine-ms": "2.250",
    }
    assert "id" not in answer.json()


@pytest.mark.parametrize("sent", ["", "a b", "x" * 200, "<script>"])
def test_a_strange_request_id_is_replaced(http: httpx.Client, sent: str) -> None:
    given = [http.get("/v2/health/live", headers={"x-request-id": sent}).headers["x-request-id"] for _ in range(2)]
    assert sent not in given
    assert given[0] != given[1]


@pytest.mark.parametrize(
    ("headers", "parameters", "seconds"),
    [
        ({}, {}, 30.0),
        ({"x-deadline-ms": "1500"}, {}, 1.5),
        ({"x-stainless-read-timeout": "7"}, {}, 7.0),
        ({"grpc-timeout": "2S"}, {}, 2.0),
        ({"grpc-timeout": "00000001H"}, {}, 3600.0),
        ({"grpc-timeout": "1M", "x-deadline-ms": "90000"}, {}, 60.0),
        ({"grpc-timeout": "2500m"}, {}, 2.5),
        ({"grpc-timeout": "99999999u"}, {}, 99.999999),
        ({"grpc-timeout": "99999999n"}, {}, 0.099999999),
        ({"x-stainless-read-timeout": "NOT_GIVEN"}, {}, 30.0),
        ({"x-stainless-read-timeout": "600", "x-deadline-ms": "900"}, {}, 0.9),
        ({"x-deadline-ms": "9000"}, {"timeout": 4_000_000}, 4.0),
        ({}, {"timeout": 60_000_000}, 60.0),
        ({}, {"timeout": 0}, 30.0),
    ],
)
def test_deadline(
    http: httpx.Client, gateway: TestGateway, headers: dict[str, str], parameters: dict[str, int], seconds: float
) -> None:
    before = gateway.clock()
    body = {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}], "parameters": parameters}
    assert http.post("/v2/models/identity/infer", json=body, headers=headers).status_code == 200
    assert gateway.last is not None
    assert before + seconds <= gateway.last.deadline <= gateway.clock() + seconds


RAW = {"inference-header-content-length": "0", "content-type": "application/octet-stream"}


def read_binary(answer: httpx.Response) -> tuple[dict[str, Any], bytes]:
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    return json.loads(answer.content[:length]), answer.content[length:]


@pytest.mark.parametrize(("model", "shape"), [("identity", [1, 6]), ("unbatched", [6]), ("scalar", [3, 2])])
def test_raw_request(http: httpx.Client, model: str, shape: list[int]) -> None:
    data = np.arange(6, dtype="<f4").tobytes()
    head, tail = read_binary(http.post(f"/v2/models/{model}/infer", content=data, headers=RAW))
    assert tail == data
    assert head["outputs"][0]["shape"] == shape
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 24}


def test_raw_request_of_text(http: httpx.Client) -> None:
    head, tail = read_binary(http.post("/v2/models/identity_bytes/infer", content=b"any bytes \xff", headers=RAW))
    assert head["outputs"][0]["shape"] == [1, 1]
    assert tail == struct.pack("<I", 11) + b"any bytes \xff"


def test_misaligned_binary_data_and_bools(http: httpx.Client) -> None:
    values = np.array([1.5, -2.5], "<f8").tobytes()
    for padding in range(8):
        head = json.dumps(
            {
                "id": "x" * (padding + 1),
                "inputs": [
                    {"name": "INPUT0", "shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": 16}},
                    {"name": "INPUT1", "shape": [3], "datatype": "BOOL", "parameters": {"binary_data_size": 3}},
                ],
            }
        ).encode()
        answer = http.post(
            "/v2/models/identity/infer",
            content=head + values + b"\x00\x01\x07",
            headers={"inference-header-content-length": str(len(head))},
        )
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
        assert outputs == {"OUTPUT0": [1.5, -2.5], "OUTPUT1": [False, True, True]}


def test_bytes_that_json_cannot_carry(http: httpx.Client) -> None:
    head = {
        "inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}],
        "outputs": [{"name": "OUTPUT0"}],
    }
    encoded = json.dumps(head).encode()
    answer = http.post(
        "/v2/models/identity_bytes/infer",
        content=encoded + b"\x01\x00\x00\x00\xff",
        headers={"inference-header-content-length": str(len(encoded))},
    )
    assert answer.status_code == 400
    assert "ask for it with binary_data" in answer.json()["error"]
