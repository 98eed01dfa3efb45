"""How much JSON one request may hold: it is decoded in one go, and nobody else is served meanwhile."""

import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.api import Limits, mount
from tests.service.api.models import TestGateway
from tests.service.api.serving import serve

MOST = 1000


@pytest.fixture(scope="module")
def bounded(gateway: TestGateway) -> Iterator[httpx.Client]:
    app = FastAPI()
    mount(app, gateway, Limits(max_json_bytes=MOST))  # type: ignore[arg-type]
    with serve(app) as address, httpx.Client(base_url=address.url, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/models/identity/infer", {"inputs": []}),
        ("/v2/models/identity/generate", {"INPUT0": 1}),
        ("/v1/embeddings", {"model": "m", "input": 1}),
    ],
)
def test_more_json_than_may_be_decoded_in_one_go_is_refused(
    bounded: httpx.Client, path: str, body: dict[str, object]
) -> None:
    text = json.dumps(body)
    answer = bounded.post(path, content=text.ljust(MOST))
    assert answer.status_code in (200, 400), "it is decoded"
    answer = bounded.post(path, content=text.ljust(MOST + 1))
    assert answer.status_code == 413
    assert f"has {MOST + 1} bytes of JSON, the most is {MOST}; send large tensors as binary data" in answer.text


def test_binary_tensors_do_not_count(bounded: httpx.Client) -> None:
    data = np.arange(MOST, dtype=np.float32)
    size = {"binary_data_size": data.nbytes}
    head = json.dumps(
        {"inputs": [{"name": "INPUT0", "shape": [1, MOST], "datatype": "FP32", "parameters": size}]}
    ).encode()
    headers = {"inference-header-content-length": str(len(head))}
    answer = bounded.post("/v2/models/identity/infer", content=head + data.tobytes(), headers=headers)
    assert answer.status_code == 200
    assert answer.json()["outputs"][0]["data"] == data.tolist()
