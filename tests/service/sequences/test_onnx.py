"""Stateful ONNX models through the gateway: direct and oldest, controls, implicit state, routes and ensembles."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from service.catalog import Route
from service.errors import InvalidRequestError, SequenceLostError
from service.gateway import Gateway
from service.routing.policies import ordered, weighted
from service.types import InferRequest, SequenceStep
from tests.service.sequences.onnx_models import INITIAL, accumulator, config
from tests.service.test_runtime import opened, started

Write = Callable[..., None]
OLDEST = "oldest { max_candidate_sequences: 6 preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 100 }"
ENSEMBLE = """
platform: "ensemble" max_batch_size: 4
input { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "SUM" data_type: TYPE_INT32 dims: [ 1 ] }
ensemble_scheduling { step { model_name: "m" model_version: -1
  input_map { key: "INPUT" value: "IN" } output_map { key: "OUTPUT" value: "SUM" } } }
"""


def step(name: int | str, value: int, flags: str = "", model: str = "m", rows: bool = True) -> InferRequest:
    inputs = {"INPUT": np.array([[value]] if rows else [value], np.int32)}
    return InferRequest(model, inputs, sequence=SequenceStep(name, "s" in flags, "e" in flags))


async def ask(gateway: Gateway, *arguments: Any, **more: Any) -> dict[str, Any]:
    outputs = (await gateway.infer(step(*arguments, **more))).outputs
    return {name: array.item() for name, array in outputs.items()}


@pytest.mark.parametrize("strategy", ["direct { }", OLDEST])
async def test_sums_flags_and_ids_are_right_and_states_are_hidden(tmp_path: Path, write: Write, strategy: str) -> None:
    write("m", config(strategy))
    accumulator(tmp_path / "m" / "1" / "model.onnx")
    async with opened(tmp_path) as gateway:
        assert await ask(gateway, 7, 5, "s") == {"OUTPUT": 5, "ROW": 0, "FLAGS": 5, "NAME": 7}
        assert await ask(gateway, 7, 6) == {"OUTPUT": 11, "ROW": 0, "FLAGS": 4, "NAME": 7}
        assert (await ask(gateway, 9, 100, "se"))["FLAGS"] == 7
        assert (await ask(gateway, 7, 1, "e"))["OUTPUT"] == 12
        with pytest.raises(InvalidRequestError, match="sequence_start"):
            await ask(gateway, 7, 1)
        signature = gateway.model("m").signature
        assert [spec.name for spec in signature.inputs] == ["INPUT"]
        assert [spec.name for spec in signature.outputs] == ["OUTPUT", "ROW", "FLAGS", "NAME"]


async def test_a_sequence_keeps_its_row_of_the_batch(tmp_path: Path, write: Write) -> None:
    write("m", config("direct { }"))
    accumulator(tmp_path / "m" / "1" / "model.onnx")
    async with opened(tmp_path) as gateway:
        for name in (1, 2, 3):
            assert (await ask(gateway, name, 0, "s"))["ROW"] == name - 1
        assert [(await ask(gateway, name, 0))["ROW"] for name in (3, 1, 2)] == [2, 0, 1]
        await ask(gateway, 2, 0, "e")
        assert (await ask(gateway, 4, 0, "s"))["ROW"] == 1


@pytest.mark.parametrize(
    "strategy", ["direct { minimum_slot_utilization: 0.5 max_queue_delay_microseconds: 300 }", OLDEST]
)
@pytest.mark.parametrize("instances", [1, 2])
async def test_many_sequences_at_once(tmp_path: Path, write: Write, strategy: str, instances: int) -> None:
    write("m", config(strategy, instances=instances))
    accumulator(tmp_path / "m" / "1" / "model.onnx")
    dice = random.Random(7)

    async def sequence(gateway: Gateway, name: int) -> int:
        values = [dice.randrange(-99, 99) for _ in range(8)]
        found = []
        for place, value in enumerate(values):
            flags = "s" * (place == 0) + "e" * (place == len(values) - 1)
            answer = await ask(gateway, name, value, flags)
            assert answer["NAME"] == name
            found.append(answer["OUTPUT"])
            if dice.random() < 0.3:
                await asyncio.sleep(0)
        assert found == list(np.cumsum(values))
        return len(values)

    async with opened(tmp_path) as gateway:
        done = await asyncio.gather(*(sequence(gateway, name) for name in range(1, 41)))
        assert sum(done) == 320


async def test_a_model_without_a_batch_dimension(tmp_path: Path, write: Write) -> None:
    write("m", config("oldest { max_candidate_sequences: 3 }", rows=0))
    accumulator(tmp_path / "m" / "1" / "model.onnx", rows=False)
    async with opened(tmp_path) as gateway:
        assert (await ask(gateway, 1, 5, "s", rows=False))["OUTPUT"] == 5
        assert (await ask(gateway, 2, 7, "s", rows=False))["OUTPUT"] == 7
        assert (await ask(gateway, 1, 6, rows=False))["OUTPUT"] == 11


async def test_ids_are_strings_and_a_sequence_begins_with_the_state_of_a_file(tmp_path: Path, write: Write) -> None:
    write("m", config("direct { }", name="STRING").replace("dims: [ 1 ] }\n}", f"dims: [ 1 ] {INITIAL} }}\n}}"))
    (tmp_path / "m" / "initial_state").mkdir()
    (tmp_path / "m" / "initial_state" / "ten").write_bytes(np.array([10], np.int32).tobytes())
    accumulator(tmp_path / "m" / "1" / "model.onnx", name=TensorProto.STRING)
    async with opened(tmp_path) as gateway:
        assert await ask(gateway, "here", 1, "s") == {"OUTPUT": 11, "ROW": 0, "FLAGS": 5, "NAME": b"here"}
        assert (await ask(gateway, "there", 2, "s"))["OUTPUT"] == 12
        assert (await ask(gateway, "here", 1))["OUTPUT"] == 12
        with pytest.raises(InvalidRequestError, match="takes a string"):
            await ask(gateway, 3, 1, "s")


async def test_streams_are_answered(tmp_path: Path, write: Write) -> None:
    write("m", config("direct { }"))
    accumulator(tmp_path / "m" / "1" / "model.onnx")
    async with opened(tmp_path) as gateway:
        totals = []
        for value, flags in ((1, "s"), (2, ""), (3, "e")):
            responses = await gateway.stream(step(1, value, flags))
            answer = await responses.read()
            assert answer is not None
            totals.append(answer.outputs["OUTPUT"].item())
            responses.close()
        assert totals == [1, 3, 6]


async def test_only_the_outputs_asked_for_are_answered(tmp_path: Path, write: Write) -> None:
    write("m", config("direct { }"))
    accumulator(tmp_path / "m" / "1" / "model.onnx")
    async with opened(tmp_path) as gateway:
        first = await gateway.infer(replace(step(1, 5, "s"), outputs=("OUTPUT",)))
        assert list(first.outputs) == ["OUTPUT"]
        assert (await ask(gateway, 1, 6))["OUTPUT"] == 11


async def test_ensembles_pass_the_sequence_on(tmp_path: Path, write: Write) -> None:
    write("m", config("direct { }"))
    accumulator(tmp_path / "m" / "1" / "model.onnx")
    write("both", ENSEMBLE)
    async with opened(tmp_path) as gateway:
        for value, flags, total in ((1, "s", 1), (2, "", 3), (3, "e", 6)):
            request = InferRequest(
                "both",
                {"IN": np.array([[value]], np.int32)},
                sequence=SequenceStep(1, "s" in flags, "e" in flags),
            )
            assert (await gateway.infer(request)).outputs["SUM"].item() == total


async def test_a_route_stays_with_the_variant_that_has_the_sequence(tmp_path: Path, write: Write) -> None:
    for name in ("one", "two"):
        write(name, config("direct { }"))
        accumulator(tmp_path / name / "1" / "model.onnx")
    async with opened(tmp_path, Route("m", ("one", "two"), weighted)) as gateway:
        for name in range(1, 5):
            await ask(gateway, name, name, "s")
        for _ in range(5):
            for name in range(1, 5):
                await ask(gateway, name, 1)
        assert [(await ask(gateway, name, 0))["OUTPUT"] for name in range(1, 5)] == [6, 7, 8, 9]


async def test_a_sequence_is_lost_with_its_variant_and_may_start_at_another(tmp_path: Path, write: Write) -> None:
    for name in ("one", "two"):
        write(name, config("direct { }"))
        accumulator(tmp_path / name / "1" / "model.onnx")
    async with started(tmp_path, Route("m", ("one", "two"), ordered)) as (runtime, gateway):
        await ask(gateway, 1, 5, "s")
        await runtime.unload("one")
        with pytest.raises(SequenceLostError, match="sequence 1 of route 'm' is lost: 'one', which had it"):
            await ask(gateway, 1, 5)
        assert (await ask(gateway, 1, 7, "s"))["OUTPUT"] == 7
        assert (await ask(gateway, 1, 1))["OUTPUT"] == 8


async def test_a_model_loaded_anew_answers_what_waits_and_knows_no_sequences(tmp_path: Path, write: Write) -> None:
    """As Triton: sequences end with the model that had them; what it had taken is answered."""
    write("m", config("direct { }"))
    accumulator(tmp_path / "m" / "1" / "model.onnx")
    async with started(tmp_path) as (runtime, gateway):
        names = range(1, 13)  # more than there are slots: some wait for one
        flags = ["s", "", "", "e"]
        taken = [asyncio.create_task(ask(gateway, name, name, flag)) for flag in flags for name in names]
        idle = asyncio.create_task(ask(gateway, 99, 5, "s"))
        await asyncio.sleep(0)
        await runtime.load("m")
        sums = [(await task)["OUTPUT"] for task in taken]
        assert sums == [name * steps for steps in (1, 2, 3, 4) for name in names]
        assert (await idle)["OUTPUT"] == 5
        with pytest.raises(InvalidRequestError, match="sequence 99 of model 'm' is unknown") as caught:
            await ask(gateway, 99, 1)
        assert "must specify the START flag" in caught.value.triton
        assert (await ask(gateway, 99, 1, "s"))["OUTPUT"] == 1
