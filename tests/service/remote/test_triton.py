"""Models that a real Triton runs."""

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import pytest

from service.errors import BatchyardError, EngineFailedError, InvalidRequestError
from service.gateway import Gateway
from service.types import InferRequest, InferResponse, Responses, SequenceStep
from tests.conformance.repository import write
from tests.service.remote.conftest import TRITON_MODELS
from tests.service.remote.gateways import floats, gateway_over, remote_model
from tests.triton.server import TritonServer

PROTOCOLS = pytest.mark.parametrize("protocol", ["grpc", "http"])


def urls(triton: TritonServer, protocol: str) -> str:
    return f"{protocol}://{triton.grpc if protocol == 'grpc' else triton.http}"


def integers(model: str, value: int, **more: object) -> InferRequest:
    name = "INPUT" if model == "simple_sequence" else "INPUT0"
    shape = (1,) if model == "request_fields" else (1, 1)
    inputs = {name: np.full(shape, value, np.int32)}
    return InferRequest(model, inputs, deadline=time.monotonic() + 10, **more)  # type: ignore[arg-type]


def repeat(*values: int, delay: int = 0) -> InferRequest:
    inputs = {
        "IN": np.array(values, np.int32),
        "DELAY": np.full(len(values), delay, np.uint32),
        "WAIT": np.array([0], np.uint32),
    }
    return InferRequest("repeat_int32", inputs, deadline=time.monotonic() + 10)


@PROTOCOLS
async def test_what_a_request_says_of_itself_reaches_the_model(
    tmp_path: Path, triton: TritonServer, protocol: str
) -> None:
    remote_model(tmp_path, "request_fields", urls=urls(triton, protocol))
    async with gateway_over(tmp_path) as (gateway, _):
        step = SequenceStep(42, start=True)
        said = {"flag": True, "size": 3, "name": "n"}
        request = integers("request_fields", 1, id="seven", sequence=step, parameters=said, outputs=("FIELDS",))
        answer = await gateway.infer(request)
    fields = json.loads(answer.outputs["FIELDS"][0])
    assert (fields["request_id"], fields["correlation_id"], fields["flags"]) == ("seven", 42, 1)
    assert fields["parameters"] == said
    assert fields["requested_output_names"] == ["FIELDS"]
    assert 9_000_000 < fields["timeout"] <= 10_000_000


@PROTOCOLS
async def test_an_error_of_the_model_is_told_as_it_said_it(tmp_path: Path, triton: TritonServer, protocol: str) -> None:
    remote_model(tmp_path, "execute_error", urls=urls(triton, protocol))
    async with gateway_over(tmp_path) as (gateway, _):
        with pytest.raises(InvalidRequestError, match="-1 is negative"):
            await gateway.infer(integers("execute_error", -1))
        with pytest.raises(EngineFailedError, match="-2 fails the whole batch"):
            await gateway.infer(integers("execute_error", -2))
        assert (await gateway.infer(integers("execute_error", 3))).outputs["OUTPUT0"].tolist() == [[3]]


@PROTOCOLS
async def test_sequences_keep_their_state(tmp_path: Path, triton: TritonServer, protocol: str) -> None:
    remote_model(tmp_path, "simple_sequence", urls=urls(triton, protocol))
    async with gateway_over(tmp_path) as (gateway, _):

        async def one(sequence: int | str) -> list[int]:
            steps = [SequenceStep(sequence, number == 0, number == 3) for number in range(4)]
            answers = [await gateway.infer(integers("simple_sequence", 5, sequence=step)) for step in steps]
            return [int(answer.outputs["OUTPUT"][0, 0]) for answer in answers]

        first, second = await asyncio.gather(one(1001), one(1002))
        assert first == second
        assert len(first) == 4
        with pytest.raises(InvalidRequestError, match=r"sequence 1001 .* must have sequence_start"):
            await gateway.infer(integers("simple_sequence", 5, sequence=SequenceStep(1001)))


async def test_decoupled_answers_come_one_by_one(tmp_path: Path, triton: TritonServer) -> None:
    remote_model(tmp_path, "repeat_int32", urls=urls(triton, "grpc"))
    async with gateway_over(tmp_path) as (gateway, _):
        for values in ((4, 5, 6), (7,), ()):
            answers = await read_all(gateway, repeat(*values))
            assert [int(answer.outputs["OUT"][0]) for answer in answers if answer.outputs] == list(values)
            assert [answer.final for answer in answers] == [False] * len(values) + [True]
        with pytest.raises(InvalidRequestError, match="any number of answers"):
            await gateway.infer(repeat(1))


async def test_a_stream_that_is_closed_frees_its_place(tmp_path: Path, triton: TritonServer) -> None:
    remote_model(tmp_path, "repeat_int32", urls=urls(triton, "grpc"), max_queue=1)
    async with gateway_over(tmp_path) as (gateway, _):
        responses = await gateway.stream(repeat(*range(100), delay=50))
        assert (await responses.read()) is not None
        with pytest.raises(BatchyardError, match="has 1 requests already"):
            await gateway.stream(repeat(1))
        responses.close()
        assert len(await read_all(gateway, repeat(1))) == 2


async def test_a_stream_that_dies_with_its_server_says_so(tmp_path: Path, triton: TritonServer) -> None:
    write(tmp_path / "there", "python", ["repeat_int32"])
    with TritonServer(tmp_path / "there") as doomed:
        remote_model(tmp_path / "here", "repeat_int32", urls=f"grpc://{doomed.grpc}")
        async with gateway_over(tmp_path / "here") as (gateway, _):
            responses = await gateway.stream(repeat(*range(100), delay=50))
            assert (await responses.read()) is not None
            doomed.process.kill()
            with pytest.raises(EngineFailedError, match="left in the middle of its answers"):
                await rest_of(responses)
            with pytest.raises(BatchyardError, match="none of its servers can be asked"):
                await gateway.stream(repeat(1))


async def test_http_has_no_word_for_decoupled_models(tmp_path: Path, triton: TritonServer) -> None:
    for name in TRITON_MODELS:
        remote_model(tmp_path, name, urls=urls(triton, "http"))
    async with gateway_over(tmp_path) as (gateway, _):
        assert [info.name for info in gateway.models() if not info.ready] == ["repeat_int32"]
        assert "use grpc:// addresses" in gateway.model("repeat_int32").reason
        assert (await gateway.infer(floats("identity_fp32", 1, 2))).outputs["OUTPUT0"].tolist() == [[1, 2]]


async def read_all(gateway: Gateway, request: InferRequest) -> list[InferResponse]:
    responses = await gateway.stream(request)
    found = await rest_of(responses)
    responses.close()
    return found


async def rest_of(responses: Responses) -> list[InferResponse]:
    found = []
    while (answer := await responses.read()) is not None:
        found.append(answer)
    return found
