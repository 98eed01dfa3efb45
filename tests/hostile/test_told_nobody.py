"""Logs and traces of a real server under attack: every line is one JSON object, and holds nothing that callers sent."""

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.hostile.cases import Http
from tests.hostile.corpus import corpus
from tests.hostile.grpc_calls import request
from tests.hostile.openai import CHAT
from tests.hostile.rest import INFER, tensor
from tests.service.access.served import KEYS, Served, served

SECRET = "S3CR3T"
FORGED = '\r\n{"time":"0","level":"error","logger":"batchyard","message":"S3CR3T forged"}\r\n'
BODIES = {
    INFER: [
        {"id": SECRET, "inputs": [tensor()]},
        {"id": FORGED, "inputs": [tensor(name=SECRET)]},
        {"inputs": [tensor(datatype="BYTES", data=[SECRET, FORGED])]},
        {"inputs": [tensor()], "parameters": {SECRET: SECRET, "timeout": SECRET}},
        {"inputs": [tensor(shape=[SECRET])]},
    ],
    CHAT: [
        {"model": "echo", "messages": [{"role": "user", "content": SECRET + FORGED}], "user": SECRET},
        {"model": "echo", "messages": [{"role": SECRET, "content": SECRET}]},
        {"model": SECRET + FORGED, "messages": [{"role": "user", "content": SECRET}]},
        {"model": "echo", "messages": [{"role": "user", "content": SECRET}], "stream": True},
    ],
    "/v2/models/echo/generate": [{"text_input": SECRET}, {"text_input": SECRET, "max_tokens": SECRET}],
    "/v2/repository/models/sent/load": [
        {"parameters": {"config": SECRET}},
        {
            "parameters": {
                "config": f'{{"backend": "{SECRET}"}}',
                "file:1/x": "UzNDUjNU",
            }
        },
        {"parameters": {"config": '{"backend": "identity"}', f"file:../{SECRET}": "eA=="}},
    ],
    "/v2/logging": [{"log_file": SECRET}, {SECRET: True}],
    "/v2/trace/setting": [{"trace_file": SECRET}, {"trace_level": [SECRET]}],
}
HEADERS = [
    {"authorization": f"Bearer {SECRET}"},
    {"x-api-key": SECRET},
    {"authorization": f"Basic {SECRET}"},
    {"x-request-id": FORGED.strip().replace("S3CR3T", SECRET)},
    {"cookie": SECRET, "user-agent": SECRET, "x-deadline-ms": SECRET, "content-encoding": SECRET},
]
PATHS = [f"/v2/models/{SECRET}/infer?key={SECRET}", f"/{SECRET}?api_key={SECRET}", f"/v1/models/{SECRET}%0d%0a{SECRET}"]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Served, Path]:
    """A server with tenants that logs all it can and traces every request, after the attack."""
    folder = tmp_path_factory.mktemp("told")
    traces = folder / "trace.json"
    with served(folder, "--trace-file", str(traces)) as server:
        with server.client("ops") as ops:
            settings = {"trace_level": ["TIMESTAMPS"], "trace_rate": ["1"], "log_frequency": ["1"]}
            assert ops.post("/v2/trace/setting", json=settings).status_code == 200
        statuses = [*_over_http(server), *_over_grpc(server)]
        assert not [status for status in statuses if isinstance(status, int) and status >= 500]
    return server, traces


def _over_http(server: Served) -> Iterator[int]:
    for tenant in ("app", "ops", ""):
        with server.client(tenant) as client:
            for path, bodies in BODIES.items():
                yield from (client.post(path, content=json.dumps(body)).status_code for body in bodies)
            yield from (client.post(path).status_code for path in PATHS)
            yield from (client.get(path).status_code for path in PATHS)
            for headers in HEADERS:
                yield client.post(INFER, json={"inputs": [tensor()]}, headers=headers).status_code
    with httpx.Client(base_url=server.url, headers={"x-api-key": KEYS["app"]}) as client:
        for case in corpus()[::7]:
            if isinstance(case.ask, Http) and case.ask.path == INFER and not case.ask.headers:
                yield client.post(INFER, content=case.ask.body).status_code


def _over_grpc(server: Served) -> Iterator[str]:
    with grpc.insecure_channel(server.grpc) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer", pb.ModelInferRequest.SerializeToString
        )
        for metadata in ([("x-api-key", SECRET)], [("authorization", f"Bearer {KEYS['app']}")]):
            for message in (request(), request(name=SECRET), request(model=SECRET), request([SECRET.encode()])):
                message.id = SECRET + FORGED
                try:
                    infer(message, metadata=metadata, timeout=30)
                    yield "OK"
                except grpc.RpcError as error:
                    yield error.code().name


def test_every_line_of_the_log_is_one_object(attacked: tuple[Served, Path]) -> None:
    lines = attacked[0].log.read_text().splitlines()
    assert lines
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))
    assert not [line for line in lines if json.loads(line)["level"] == "error"]


def test_the_log_holds_nothing_that_was_sent(attacked: tuple[Served, Path]) -> None:
    text = attacked[0].log.read_text()
    for hidden in (SECRET, *KEYS.values()):
        assert [line for line in text.splitlines() if hidden in line] == []


def test_traces_hold_names_and_times_only(attacked: tuple[Served, Path]) -> None:
    """Triton's format has the id and the model that the caller named: as JSON, and nothing else of the request."""
    traces = [trace for path in attacked[1].parent.glob("trace.json*") for trace in json.loads(path.read_text())]
    assert traces
    named = {"id", "parent_id", "model_name", "model_version", "request_id"}
    assert {key for trace in traces for key in trace} <= {*named, "timestamps"}
    stamps = json.dumps([trace.get("timestamps") for trace in traces])
    assert SECRET not in stamps
    assert not [key for key in KEYS.values() if key in json.dumps(traces)]
