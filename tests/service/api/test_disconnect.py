"""A caller that leaves takes its work along: over sockets, where only a closed connection tells."""

import json

import httpx

from tests.service.api.models import TestGateway
from tests.service.api.serving import Address

PATIENCE = 10
INFER = {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}


def post(path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    return b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (path.encode(), len(content), content)


def leave_while_waiting(address: Address, gateway: TestGateway, request: bytes, parts: int = 1) -> None:
    with address.connect() as connection:
        connection.sendall(request)
        for _ in range(parts):
            assert gateway.asked.acquire(timeout=PATIENCE)
    for _ in range(parts):
        assert gateway.cancelled.acquire(timeout=PATIENCE), "the work went on after the caller left"


def test_infer(address: Address, gateway: TestGateway) -> None:
    leave_while_waiting(address, gateway, post("/v2/models/slow/infer", INFER))


def test_embeddings(address: Address, gateway: TestGateway) -> None:
    leave_while_waiting(address, gateway, post("/v1/embeddings", {"model": "slow", "input": "hello"}))


def test_embeddings_of_several_requests(address: Address, gateway: TestGateway) -> None:
    body = {"model": "slow", "input": [[1], [2, 3], [4]]}
    leave_while_waiting(address, gateway, post("/v1/embeddings", body), parts=3)


def test_leaving_before_the_body_is_complete(address: Address, http: httpx.Client) -> None:
    with address.connect() as connection:
        connection.sendall(b"POST /v2/models/slow/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    assert http.post("/v2/models/identity/infer", json=INFER).status_code == 200


def test_one_failing_part_cancels_the_others(http: httpx.Client, gateway: TestGateway) -> None:
    answer = http.post("/v1/embeddings", json={"model": "slow", "input": [[1], [666], [2]]})
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "this row is poison"
    for _ in range(2):
        assert gateway.asked.acquire(timeout=PATIENCE)
        assert gateway.cancelled.acquire(timeout=PATIENCE)
