"""Bad infer requests: a clear 400 (413 past the limit) in the protocol's shape, and nothing allocated for them."""

import gzip
import json
import re
import zlib
from typing import Any

import httpx
import pytest

from tests.service.api.conftest import MAX_BODY_BYTES
from tests.service.api.serving import Address


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]} | changes


def typed(datatype: str, value: Any) -> dict[str, Any]:
    return {"inputs": [tensor(datatype=datatype, shape=[1, 1], data=[value])]}


BAD: list[tuple[str, Any, str]] = [
    ("no inputs", {}, "missing required field `inputs`"),
    ("a list", [], "Expected `object`"),
    ("inputs no list", {"inputs": 1}, "Expected `array`"),
    ("no name", {"inputs": [{"shape": [1]}]}, "missing required field `name`"),
    ("no data", {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}, "input 'x': data must be a list"),
    ("data no list", {"inputs": [tensor(data=1.0)]}, "input 'INPUT0': data must be a list"),
    ("unknown datatype", {"inputs": [tensor(datatype="FP33")]}, "unknown datatype 'FP33'"),
    ("too few", {"inputs": [tensor(shape=[1, 3])]}, "shape [1, 3] needs 3 values, data has 2"),
    ("too many", {"inputs": [tensor(shape=[1, 1])]}, "shape [1, 1] needs 1 values, data has 2"),
    ("far too many", {"inputs": [tensor(data=[[0.5] * 200_000])]}, "shape [1, 2] needs 2 values, data has 200000"),
    ("transposed", {"inputs": [tensor(shape=[2, 3], data=[[1, 2], [3, 4], [5, 6]])]}, "nested as [3, 2]"),
    ("ragged", {"inputs": [tensor(shape=[2, 2], data=[[1, 2], [3]])]}, "ragged"),
    ("ragged depth", {"inputs": [tensor(shape=[2, 2], data=[[1, 2], 3])]}, "Expected `array`"),
    ("ragged text", {"inputs": [tensor(datatype="BYTES", shape=[2, 1], data=[["a"], ["b", "c"]])]}, "ragged"),
    ("2^60 elements", {"inputs": [tensor(shape=[2**60])]}, "needs 1152921504606846976 values"),
    ("2^120 elements", {"inputs": [tensor(shape=[2**60, 2**60])]}, "values, data has 2"),
    ("zero times 2^60", {"inputs": [tensor(shape=[0, 2**60, 2**60], data=[])]}, "cannot be held"),
    ("2^70 as a size", {"inputs": [tensor(shape=[2**70])]}, "INPUT0"),
    ("negative", {"inputs": [tensor(shape=[-1, 2])]}, ">= 0"),
    ("size no integer", {"inputs": [tensor(shape=[1.5])]}, "Expected `int`"),
    ("rank 33", {"inputs": [tensor(shape=[1] * 33)]}, "length <= 32"),
    ("twice", {"inputs": [tensor(), tensor()]}, "input 'INPUT0' is given twice"),
    ("INT8 300", typed("INT8", 300), "input 'INPUT0': data does not fit datatype INT8"),
    ("UINT8 -1", typed("UINT8", -1), "UINT8"),
    ("INT32 2^31", typed("INT32", 2**31), "INT32"),
    ("INT64 2^63", typed("INT64", 2**63), "INT64"),
    ("timeout 10^400", {"inputs": [tensor()], "parameters": {"timeout": 10**400}}, "'timeout' is too large"),
    ("a parameter of 2^63", {"inputs": [tensor()], "parameters": {"x": 2**63}}, "it must fit 64 bits"),
    ("UINT64 2^64", typed("UINT64", 2**64), "out of the range of datatype UINT64"),
    ("INT32 1.5", typed("INT32", 1.5), "Expected `int`, got `float`"),
    ("INT32 true", typed("INT32", True), "Expected `int`, got `bool`"),
    ("INT32 null", typed("INT32", None), "INT32"),
    ("INT32 NaN", typed("INT32", float("nan")), "INT32"),
    ("FP32 x", typed("FP32", "x"), "input 'INPUT0': data does not fit datatype FP32: Invalid enum value 'x'"),
    ("FP32 true", typed("FP32", True), "got `bool`"),
    ("FP32 1e300", typed("FP32", 1e300), "out of the range of datatype FP32"),
    ("FP16 1e6", typed("FP16", 1e6), "out of the range of datatype FP16"),
    ("BOOL 1", typed("BOOL", 1), "Expected `bool`"),
    ("BYTES 1", typed("BYTES", 1), "Expected `str`"),
    ("unknown output", {"inputs": [tensor()], "outputs": [{"name": "NOPE"}]}, "no output 'NOPE'; it has OUTPUT0"),
    ("output twice", {"inputs": [tensor()], "outputs": [{"name": "OUTPUT0"}] * 2}, "asked for twice"),
    ("timeout text", {"inputs": [tensor()], "parameters": {"timeout": "1"}}, "parameter 'timeout' is '1'"),
    ("timeout negative", {"inputs": [tensor()], "parameters": {"timeout": -1}}, "whole number of 0 or more"),
    ("priority true", {"inputs": [tensor()], "parameters": {"priority": True}}, "parameter 'priority' is True"),
    ("parameter list", {"inputs": [tensor()], "parameters": {"a": []}}, "parameters"),
    ("long sequence_id", {"inputs": [tensor()], "parameters": {"sequence_id": "é" * 65}}, "has 130 bytes; use at most"),
    ("binary_data_output", {"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, "true or false"),
    ("shared memory", {"inputs": [tensor(parameters={"shared_memory_region": "r"})]}, "shared memory is not served"),
    ("no binary data", {"inputs": [tensor(parameters={"binary_data_size": 8})]}, "only 0 bytes left"),
    ("binary size text", {"inputs": [tensor(parameters={"binary_data_size": "8"})]}, "binary_data_size"),
]


def refused(answer: httpx.Response, words: str, status: int = 400) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(("body", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_json(http: httpx.Client, body: Any, words: str) -> None:
    refused(http.post("/v2/models/identity/infer", content=json.dumps(body)), words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"inputs": []} x', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"inputs":[{"name":"\xff","shape":[1],"datatype":"BYTES","data":["a"]}]}', "not valid JSON"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["\xff"]}]}', "input 'x'"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["\\ud800"]}]}', "not valid JSON"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1e999]}]}', "input 'x'"),
        (b'{"inputs":[{"name":"x","shape":[NaN],"datatype":"FP64","data":[1]}]}', "Expected `int`"),
        (b"[" * 250_000 + b"]" * 250_000, "Expected `object`"),
        (b'{"inputs":' + b"[" * 250_000 + b"]" * 250_000 + b"}", "not right"),
        (b'{"a":' + b"[" * 250_000 + b"]" * 250_000 + b"}", "too deep"),
        (b'{"a": NaN, "b":' + b"[" * 250_000 + b"]" * 250_000 + b"}", "too deep"),
        (
            b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 40 + b"]" * 40 + b"}]}",
            "nested deeper",
        ),
    ],
)
def test_no_json(http: httpx.Client, body: bytes, words: str) -> None:
    refused(http.post("/v2/models/identity/infer", content=body), words)


HEADER = {"inputs": [{"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]}


def binary(http: httpx.Client, head: Any, tail: bytes, length: str | None = None) -> httpx.Response:
    encoded = json.dumps(head).encode()
    headers = {"inference-header-content-length": length or str(len(encoded))}
    return http.post("/v2/models/identity/infer", content=encoded + tail, headers=headers)


@pytest.mark.parametrize(
    ("changes", "tail", "words"),
    [
        ({}, b"1234567", "only 7 bytes left"),
        ({}, b"123456789", "1 bytes that no input"),
        ({"shape": [1, 3]}, b"12345678", "needs 12 bytes of binary data, found 8"),
        ({"shape": [2**60]}, b"12345678", "bytes of binary data, found 8"),
        ({"shape": [0, 2**62], "parameters": {"binary_data_size": 0}}, b"", "cannot be held"),
        ({"datatype": "BYTES", "shape": [2**60]}, b"12345678", "cannot fit"),
        ({"datatype": "BYTES", "shape": [1]}, b"\xff\xff\xff\xff1234", "ends inside element 0"),
        ({"data": [1, 2]}, b"12345678", "both data and binary_data_size"),
        ({"parameters": {"binary_data_size": 2**40}}, b"", "only 0 bytes left"),
    ],
)
def test_binary(http: httpx.Client, changes: dict[str, Any], tail: bytes, words: str) -> None:
    refused(binary(http, {"inputs": [HEADER["inputs"][0] | changes]}, tail), words)


@pytest.mark.parametrize("length", ["-1", "x", "1.5", "9" * 30, "99999"])
def test_header_length(http: httpx.Client, length: str) -> None:
    answer = binary(http, HEADER, b"12345678", length)
    assert answer.status_code == 400
    assert re.search("inference-header-content-length", answer.json()["error"], re.IGNORECASE)


@pytest.mark.parametrize("value", ["0", "-5", "soon", "nan", "inf"])
def test_deadline_header(http: httpx.Client, value: str) -> None:
    answer = http.post("/v2/models/identity/infer", json={"inputs": [tensor()]}, headers={"x-deadline-ms": value})
    refused(answer, "x-deadline-ms")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        *[("grpc-timeout", value) for value in ("", "1", "S", "0S", "-1S", "1.5S", "123456789n", "1s", "1 S", "1S1S")],
        *[("x-explain", value) for value in ("", "yes", "2")],
        *[("x-variant", value) for value in ("", "a b", "grün".encode(), "x" * 257)],
        *[("x-min-quality", value) for value in ("", "high", "1.01", "-0.1", "nan", "inf")],
    ],
)
def test_headers_that_make_no_sense(http: httpx.Client, header: str, value: str) -> None:
    answer = http.post("/v2/models/identity/infer", json={"inputs": [tensor()]}, headers={header: value})
    refused(answer, header)


@pytest.mark.parametrize("value", [True, "0.5", 1.5, -1])
def test_a_quality_that_makes_no_sense(http: httpx.Client, value: object) -> None:
    body = {"inputs": [tensor()], "parameters": {"min_quality": value}}
    refused(http.post("/v2/models/identity/infer", json=body), "min_quality")


def test_more_than_the_limit(http: httpx.Client, address: Address) -> None:
    refused(http.post("/v2/models/identity/infer", content=b" " * (MAX_BODY_BYTES + 1)), "2000000 bytes", 413)
    with address.connect() as connection:
        connection.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_more_than_the_limit_in_chunks(http: httpx.Client) -> None:
    chunks = (b" " * 100_000 for _ in range(MAX_BODY_BYTES // 100_000 + 1))
    refused(http.post("/v2/models/identity/infer", content=chunks), "2000000 bytes", 413)


@pytest.mark.parametrize("path", ["/v2/models/identity/infer", "/v1/embeddings"])
def test_more_than_the_limit_inflated(http: httpx.Client, path: str) -> None:
    bomb = gzip.compress(bytes(500 * MAX_BODY_BYTES // 100), 9)
    assert len(bomb) < 100_000
    answer = http.post(path, content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert "inflates to more" in answer.text


@pytest.mark.parametrize(
    ("encoding", "content", "words"),
    [
        ("gzip", b"no gzip at all", "damaged"),
        ("deflate", gzip.compress(b"{}"), "damaged"),
        ("gzip", gzip.compress(b"{}" * 999)[:-9], "ends too early"),
        ("deflate", zlib.compress(b"{}") + b"tail", "damaged"),
        ("br", b"{}", "content-encoding 'br' is not served"),
    ],
)
def test_compressed(http: httpx.Client, encoding: str, content: bytes, words: str) -> None:
    refused(http.post("/v2/models/identity/infer", content=content, headers={"content-encoding": encoding}), words)


@pytest.mark.parametrize(
    ("model", "content", "words"),
    [
        ("identity", b"12345", "needs 4 bytes of binary data, found 5"),
        ("add_sub", b"1234", "needs a model of one input, 'add_sub' takes 2"),
        ("scalar", b"1234", "needs 0 bytes of binary data, found 4"),
    ],
)
def test_raw(http: httpx.Client, model: str, content: bytes, words: str) -> None:
    headers = {"inference-header-content-length": "0"}
    refused(http.post(f"/v2/models/{model}/infer", content=content, headers=headers), words)


def test_raw_to_an_unavailable_model(http: httpx.Client) -> None:
    headers = {"inference-header-content-length": "0"}
    refused(http.post("/v2/models/bad/infer", content=b"1234", headers=headers), "no such field", 503)


def test_classification_of_text(http: httpx.Client) -> None:
    body = {
        "inputs": [tensor(datatype="BYTES", data=["a", "b"])],
        "outputs": [{"name": "OUTPUT0", "parameters": {"classification": 1}}],
    }
    refused(http.post("/v2/models/identity_bytes/infer", json=body), "classification needs numbers")
