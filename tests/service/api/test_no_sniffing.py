"""Answers repeat what callers sent; each tells browsers not to guess what it is."""

import httpx
import pytest

EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/models/identity/infer", {"inputs": [{"name": EVIL, "shape": [1], "datatype": "FP32", "data": [1]}]}),
        ("/v1/embeddings", {"model": EVIL, "input": "x"}),
        (f"/{EVIL}", {}),
        ("/v2/repository/index", {}),
    ],
)
def test_posted(http: httpx.Client, path: str, body: object) -> None:
    answer = http.post(path, json=body)
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("path", ["/v2", "/v1/models", f"/v2/models/{EVIL}", "/v2/health/ready"])
def test_read(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert len(answer.headers.get_list("x-request-id")) == 1
