"""When answers are compressed, and that many gzip members are one body."""

import gzip
import json
import zlib

import httpx
import pytest


def body(size: int) -> bytes:
    tensor = {"name": "INPUT0", "shape": [1, size], "datatype": "FP32", "data": [0.5] * size}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize(
    ("accepted", "size", "encoding"),
    [
        ("gzip, deflate", 5000, "gzip"),
        ("deflate, gzip", 5000, "deflate"),
        ("br, GZIP;q=0.5", 5000, "gzip"),
        ("gzip;q=0, deflate", 5000, "deflate"),
        ("gzip; q=0.0", 5000, None),
        ("identity", 5000, None),
        ("", 5000, None),
        ("gzip", 5, None),
        ("gzip", 90_000, "gzip"),
    ],
)
def test_answers(http: httpx.Client, accepted: str, size: int, encoding: str | None) -> None:
    answer = http.post("/v2/models/identity/infer", content=body(size), headers={"accept-encoding": accepted})
    assert answer.headers.get("content-encoding") == encoding
    assert answer.json()["outputs"][0]["data"] == [0.5] * size
    if encoding:
        assert answer.num_bytes_downloaded < len(answer.content) / 10


def test_embeddings_are_not_compressed(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", json={"model": "minilm", "input": ["a"] * 2000})
    assert len(answer.content) > 100_000
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_bodies(http: httpx.Client, encoding: str, compress: object) -> None:
    content = compress(body(5))  # type: ignore[operator]
    answer = http.post("/v2/models/identity/infer", content=content, headers={"content-encoding": encoding})
    assert answer.json()["outputs"][0]["data"] == [0.5] * 5


def test_gzip_members(http: httpx.Client) -> None:
    whole = body(5)
    content = gzip.compress(whole[:20]) + gzip.compress(whole[20:])
    answer = http.post("/v2/models/identity/infer", content=content, headers={"content-encoding": "gzip"})
    assert answer.json()["outputs"][0]["data"] == [0.5] * 5


def test_members_are_counted(http: httpx.Client) -> None:
    content = gzip.compress(body(5)) + gzip.compress(b"") * 5000
    answer = http.post("/v2/models/identity/infer", content=content, headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    assert "more than 4096 members" in answer.json()["error"]
