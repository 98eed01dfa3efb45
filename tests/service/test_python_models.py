"""Real Python models through the gateway: each runs in a process of its own."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
import tritonclient.http as triton

from engines.tensor import Array
from service.catalog import Catalog
from service.cores import CoreBudget
from service.errors import (
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    QueueFullError,
    UnsupportedError,
)
from service.gateway import Gateway
from service.opening import Machine
from service.runtime import Runtime
from service.scripting import Scripting
from service.telemetry.metrics import Metrics
from service.types import InferRequest, InferResponse
from tests.conformance.repository import write
from tests.conftest import serving
from tests.engines.python_backend.configs import CONFIGS

SOURCES = Path(__file__).parents[1] / "engines" / "python_backend" / "models"


@asynccontextmanager
async def opened(root: Path, most: int = 100) -> AsyncIterator[tuple[Gateway, Metrics]]:
    catalog, metrics = Catalog(), Metrics()
    gateway = Gateway(catalog, metrics, time.monotonic)
    scripting = Scripting(gateway, 30.0, 100)
    scripting.start()
    machine = Machine(CoreBudget(2), 2, time.monotonic, most, new_ask=scripting.of_a_model)
    runtime = Runtime(catalog, machine, metrics, gateway, lambda *_: None)
    await runtime.start([root], ())
    assert [info.reason for info in gateway.models()] == [""] * len(gateway.models())
    try:
        yield gateway, metrics
    finally:
        await runtime.stop(5.0)


def write_model(root: Path, name: str, *, instances: int = 1) -> None:
    """One of the engine's own test models."""
    folder = root / name / "1"
    folder.mkdir(parents=True)
    text = CONFIGS[name].replace("KIND_CPU", f"KIND_CPU count: {instances}")
    (root / name / "config.pbtxt").write_text(text)
    shutil.copy(SOURCES / f"{name}.py", folder / "model.py")


def request(model: str, inputs: dict[str, Array], seconds: float = 30.0) -> InferRequest:
    return InferRequest(model, inputs, deadline=time.monotonic() + seconds)


def pair(value: int, datatype: type[np.generic] = np.int32) -> dict[str, Array]:
    return {"INPUT0": np.full((1, 16), value, datatype), "INPUT1": np.ones((1, 16), datatype)}


def first(response: InferResponse, name: str) -> object:
    return response.outputs[name].ravel()[0].item()


async def test_requests_of_one_batch_are_answered_apart(tmp_path: Path) -> None:
    write(tmp_path, "python", ["simple"])
    async with opened(tmp_path) as (gateway, _):
        answers = await asyncio.gather(*(gateway.infer(request("simple", pair(value))) for value in range(20)))
        assert [first(one, "OUTPUT0") for one in answers] == [value + 1 for value in range(20)]
        assert [first(one, "OUTPUT1") for one in answers] == [value - 1 for value in range(20)]
        (told,) = gateway.statistics("simple")
        assert told.success.count == 20
        assert told.execution_count < 20


async def test_an_error_is_that_of_its_request_alone_unless_the_model_raises(tmp_path: Path) -> None:
    write(tmp_path, "python", ["execute_error"])
    async with opened(tmp_path) as (gateway, _):

        async def ask(value: int) -> InferResponse:
            return await gateway.infer(request("execute_error", {"INPUT0": np.array([[value]], np.int32)}))

        one, bad, two = await asyncio.gather(ask(1), ask(-1), ask(2), return_exceptions=True)
        assert isinstance(one, InferResponse)
        assert isinstance(two, InferResponse)
        assert (first(one, "OUTPUT0"), first(two, "OUTPUT0")) == (1, 2)
        assert isinstance(bad, InvalidRequestError)
        assert str(bad) == "-1 is negative"
        with pytest.raises(EngineFailedError, match="-2 fails the whole batch"):
            await ask(-2)
        assert first(await ask(3), "OUTPUT0") == 3


async def test_a_decoupled_model_gives_each_answer_when_it_has_it(tmp_path: Path) -> None:
    write(tmp_path, "python", ["repeat_int32"])
    async with opened(tmp_path) as (gateway, _):
        inputs = {
            "IN": np.array([4, 2, 7], np.int32),
            "DELAY": np.array([0, 1, 1], np.uint32),
            "WAIT": np.array([0], np.uint32),
        }
        responses = await gateway.stream(request("repeat_int32", inputs))
        found = []
        while (response := await responses.read()) is not None:
            found.append((first(response, "OUT") if response.outputs else None, response.final))
        responses.close()
        assert found == [(4, False), (2, False), (7, False), (None, True)]
        with pytest.raises(UnsupportedError, match="any number of answers"):
            await gateway.infer(request("repeat_int32", inputs))
        inputs["DELAY"] = np.array([0, 1500, 0], np.uint32)
        responses = await gateway.stream(request("repeat_int32", inputs, 0.3))
        assert (await responses.read()) is not None
        with pytest.raises(DeadlineExceededError):
            await responses.read()


async def test_a_caller_who_leaves_is_seen_by_the_model(tmp_path: Path) -> None:
    """It goes on until it sees that, and one request may be open at a time."""
    write_model(tmp_path, "stream")
    inputs = {"N": np.array([1], np.int32), "HOW": np.array([b"until cancelled"], np.object_)}
    async with opened(tmp_path, most=1) as (gateway, _):
        task = asyncio.create_task(gateway.stream(request("stream", inputs)))
        await asyncio.sleep(0.05)
        assert not await _is_admitted(gateway, inputs)
        task.cancel()
        async with asyncio.timeout(10):
            while not await _is_admitted(gateway, inputs):  # noqa: ASYNC110 - only the model knows when it is done
                await asyncio.sleep(0.01)


async def _is_admitted(gateway: Gateway, inputs: dict[str, Array]) -> bool:
    """Would one more be taken? If so, it is at its deadline soon."""
    try:
        await gateway.stream(request("stream", inputs, 0.1))
    except DeadlineExceededError:
        return True
    except QueueFullError:
        return False
    raise AssertionError("the model answered")


async def test_models_ask_models_by_business_logic_scripting(tmp_path: Path) -> None:
    write(tmp_path, "python", ["simple", "simple_int8", "bls_simple", "bls_async_simple"])
    async with opened(tmp_path) as (gateway, _):
        answers = await asyncio.gather(*(gateway.infer(request("bls_simple", pair(value))) for value in range(4)))
        assert [first(one, "OUTPUT0") for one in answers] == [value + 2 for value in range(4)]
        response = await gateway.infer(request("bls_async_simple", pair(5, np.int8)))
        assert (first(response, "OUTPUT0"), first(response, "OUTPUT1")) == (6, 4)
        (told,) = gateway.statistics("simple")
        assert told.success.count == 9


async def test_a_model_that_ends_its_process_is_opened_anew_and_its_request_refused(tmp_path: Path) -> None:
    write_model(tmp_path, "arithmetic")
    async with opened(tmp_path) as (gateway, _):
        x = np.array([[2.0]], np.float32)
        with pytest.raises(EngineFailedError, match="lost 2 times while it ran nothing but this request"):
            await gateway.infer(request("arithmetic", {"X": x, "WHAT": np.array([[b"exit"]], np.object_)}))
        async with asyncio.timeout(10):
            while not gateway.model("arithmetic").ready:  # noqa: ASYNC110 - another thread opens the engine
                await asyncio.sleep(0.01)
        response = await gateway.infer(request("arithmetic", {"X": x, "WHAT": np.array([[b"parameters"]], np.object_)}))
        assert first(response, "Y") == 4
        assert response.parameters == {"executions": 1}


async def test_what_a_model_counts_is_in_the_metrics(tmp_path: Path) -> None:
    write_model(tmp_path, "counting", instances=2)
    async with opened(tmp_path) as (gateway, metrics):
        for value in (1.0, 2.0, 7.0):
            await gateway.infer(request("counting", {"X": np.array([value], np.float32)}))
        lines = metrics.exposition()[0].decode().splitlines()
    assert "# TYPE seen counter" in lines
    assert 'seen{model="counting"} 3.0' in lines
    assert "# TYPE values histogram" in lines
    assert [line for line in lines if line.startswith("values")] == [
        'values_bucket{le="1.0"} 1',
        'values_bucket{le="2.5"} 2',
        'values_bucket{le="+Inf"} 3',
        "values_sum{} 10.0",
        "values_count{} 3",
        'values_bucket{of="other buckets",le="3.0"} 0',
        'values_bucket{of="other buckets",le="+Inf"} 0',
        'values_sum{of="other buckets"} 0.0',
        'values_count{of="other buckets"} 0',
    ]


async def test_what_the_model_says_of_itself_is_its_configuration(tmp_path: Path) -> None:
    write_model(tmp_path, "completing")
    async with opened(tmp_path) as (gateway, _):
        info = gateway.model("completing")
        assert info.signature.inputs
        assert info.config is not None
        assert info.config.inputs == info.signature.inputs


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("served")
    write(root, "python", ["simple", "bls_simple", "repeat_int32"])
    with serving("--model-repository", str(root)) as url:
        yield url


def test_http_clients_get_the_same(served: str) -> None:
    client = triton.InferenceServerClient(served.removeprefix("http://"))
    inputs = [triton.InferInput(f"INPUT{number}", [1, 16], "INT32") for number in range(2)]
    for tensor, values in zip(inputs, pair(5).values(), strict=True):
        tensor.set_data_from_numpy(values)
    assert client.infer("simple", inputs).as_numpy("OUTPUT0")[0, 0] == 6
    assert client.infer("bls_simple", inputs).as_numpy("OUTPUT0")[0, 0] == 7


def test_generate_stream_gives_every_answer_of_a_decoupled_model(served: str) -> None:
    body = json.dumps({"IN": [4, 2], "DELAY": [0, 1], "WAIT": [0]}).encode()
    call = Request(f"{served}/v2/models/repeat_int32/generate_stream", body, {"content-type": "application/json"})
    with urlopen(call, timeout=10) as answer:
        events = [json.loads(line[6:]) for line in answer.read().decode().splitlines() if line.startswith("data: ")]
    assert [event["OUT"] for event in events] == [4, 2]
