"""gRPC of a real process: a model's answers, deadlines in its scheduler, and SIGTERM under load."""

import asyncio
import json
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from service.server import INTERRUPTED
from tests.e2e.processes import IDENTITY, Server, parameter, serving, write_model

CALLERS = 16


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    write_model(root, "identity", IDENTITY)
    write_model(root, "slow", IDENTITY + parameter("identity.delay_ms", 700))
    return root


@pytest.fixture
def server(tmp_path: Path, repository: Path) -> Iterator[Server]:
    with serving(tmp_path, repository, "--drain-seconds", "5", "--log-level", "info", "--allow-control") as server:
        yield server


def given(value: float) -> triton.InferInput:
    return triton.InferInput("INPUT0", [1, 1], "FP32").set_data_from_numpy(np.full((1, 1), value, np.float32))


def request_of(model: str, value: float) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[np.float32(value).tobytes()])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
    return request


def answer_of(response: service_pb2.ModelInferResponse) -> float:
    return float(np.frombuffer(response.raw_output_contents[0], np.float32)[0])


def test_the_same_models_as_over_http(server: Server) -> None:
    with triton.InferenceServerClient(server.grpc) as client:
        assert client.is_server_ready()
        assert client.infer("identity", [given(5)]).as_numpy("OUTPUT0").tolist() == [[5]]
        assert [m.name for m in client.get_model_repository_index().models] == ["identity", "slow"]
        client.unload_model("identity")
        assert not client.is_model_ready("identity")
        client.load_model("identity")
        assert client.infer("identity", [given(6)]).as_numpy("OUTPUT0").tolist() == [[6]]
        assert client.get_model_config("slow").config.parameters["batchyard.identity.delay_ms"].string_value == "700"
        (counted,) = client.get_inference_statistics("identity").model_stats
        assert counted.inference_stats.success.count >= 1
        assert httpx.get(f"http://127.0.0.1:{server.port}/v2/models/identity/ready").status_code == 200


def test_the_scheduler_knows_the_deadline_of_a_call(server: Server) -> None:
    """What cannot be in time is refused at once, with the time after which it would be."""
    with triton.InferenceServerClient(server.grpc) as client:
        for _ in range(2):
            client.infer("slow", [given(1)])
        start = time.monotonic()
        with pytest.raises(InferenceServerException) as caught:
            client.infer("slow", [given(1)], client_timeout=0.5)
        assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED", caught.value
        assert time.monotonic() - start < 0.5


async def test_nothing_that_was_accepted_is_lost(server: Server) -> None:
    ends: Counter[str] = Counter()

    async def ask(number: int) -> None:
        """Until it is refused; each answer must hold its own number."""
        async with aio.insecure_channel(server.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            try:
                for value in range(number * 100_000, (number + 1) * 100_000):
                    right = answer_of(await stub.ModelInfer(request_of("identity", value))) == value
                    ends["right" if right else "wrong"] += 1
            except aio.AioRpcError as error:
                ends[error.code().name] += 1

    async with aio.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        callers = asyncio.gather(*(ask(number) for number in range(CALLERS)))
        await asyncio.sleep(0.5)
        slow = stub.ModelInfer(request_of("slow", 7))
        await asyncio.sleep(0.2)
        server.tell(signal.SIGTERM)
        server.tell(signal.SIGTERM)
        await asyncio.wait_for(callers, 20)
        assert answer_of(await slow) == 7
    assert await asyncio.to_thread(server.process.wait, 20) == 0
    assert ends.pop("right") > CALLERS
    assert ends == {"UNAVAILABLE": CALLERS}
    assert json.loads(server.log.read_text().splitlines()[-1])["message"] == "stopped"


def test_not_ready_while_it_drains_but_answers(server: Server) -> None:
    with triton.InferenceServerClient(server.grpc) as client:
        assert client.is_server_ready()
        server.tell(signal.SIGTERM)
        while client.is_server_ready():
            time.sleep(0.005)
        assert client.is_server_live()
        assert client.infer("identity", [given(3)]).as_numpy("OUTPUT0").tolist() == [[3]]


def test_without_grpc(tmp_path: Path, repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, repository, "--grpc", "false", "--grpc-port", str(port)) as server:
            assert server.grpc == ""
            assert httpx.get(f"http://127.0.0.1:{server.port}/v2/health/ready").status_code == 200


def test_a_second_interrupt_leaves_at_once(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        slow = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(request_of("slow", 1))
        time.sleep(0.2)
        server.tell(signal.SIGINT)
        time.sleep(0.2)
        server.tell(signal.SIGINT)
        assert server.process.wait(10) == INTERRUPTED
        assert slow.exception(10) is not None
