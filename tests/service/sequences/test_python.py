"""Stateful Python models through the gateway: they get real requests only, and keep their own state."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import EngineFailedError, SequenceLostError
from service.gateway import Gateway
from tests.service.batching.gate import until
from tests.service.sequences.test_onnx import step
from tests.service.test_runtime import opened

Write = Callable[..., None]
MODELS = Path(__file__).with_name("models")
CONFIG = """
backend: "python" max_batch_size: 4
input { name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUTPUT" data_type: TYPE_INT32 dims: [ 1 ] }
sequence_batching { %s max_sequence_idle_microseconds: 60000000
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } }
  control_input { name: "END" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } }
  control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } }
  control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT32 } } }
"""


def write_model(root: Path, write: Write, source: str, config: str) -> None:
    write("m", config)
    (root / "m" / "1" / "model.py").write_text((MODELS / f"{source}.py").read_text())


async def ask(gateway: Gateway, name: int, value: int, flags: str = "") -> int:
    return int((await gateway.infer(step(name, value, flags))).outputs["OUTPUT"].item())


@pytest.mark.parametrize("strategy", ["direct { }", "oldest { max_candidate_sequences: 8 }"])
async def test_a_python_model_keeps_its_sequences_apart(tmp_path: Path, write: Write, strategy: str) -> None:
    write_model(tmp_path, write, "by_id", CONFIG % strategy)

    async def sequence(gateway: Gateway, name: int) -> list[int]:
        flags = ["s", "", "", "e"]
        return list(await asyncio.gather(*(ask(gateway, name, name, flag) for flag in flags)))

    async with opened(tmp_path) as gateway:
        found = await asyncio.gather(*(sequence(gateway, name) for name in range(1, 17)))
        assert found == [[name, 2 * name, 3 * name, 4 * name] for name in range(1, 17)]
        assert await ask(gateway, 1, 5, "s") == 5
        with pytest.raises(EngineFailedError, match="minus two"):
            await ask(gateway, 1, -2)
        assert await ask(gateway, 1, 5) == 10


async def test_sequences_are_lost_with_the_process_and_told_so(tmp_path: Path, write: Write) -> None:
    write_model(tmp_path, write, "by_id", CONFIG % "direct { }")
    async with opened(tmp_path) as gateway:
        for name in (1, 2):
            await ask(gateway, name, 5, "s")
        with pytest.raises(EngineFailedError, match="lost 2 times"):
            await ask(gateway, 1, -1)
        await until(lambda: gateway.model("m").ready)
        for name in (1, 2):
            with pytest.raises(SequenceLostError, match="its engine was opened anew; start it again"):
                await ask(gateway, name, 5)
            assert await ask(gateway, name, 5, "s") == 5
            assert await ask(gateway, name, 5, "e") == 10


async def test_a_step_of_a_decoupled_model_has_any_number_of_answers(tmp_path: Path, write: Write) -> None:
    write_model(tmp_path, write, "countdown", CONFIG % "direct { }" + "model_transaction_policy { decoupled: true }")

    async def answers(gateway: Gateway, name: int, value: int, flags: str = "") -> list[int]:
        responses = await gateway.stream(step(name, value, flags))
        found = []
        while (response := await responses.read()) is not None:
            found += [array.item() for array in response.outputs.values()]
        responses.close()
        return found

    async with opened(tmp_path) as gateway:
        assert await answers(gateway, 1, 2, "s") == [2, 1]
        several = await asyncio.gather(*(answers(gateway, 1, value) for value in (1, 0, 3)))
        assert several == [[3], [], [6, 5, 4]]
        left = await gateway.stream(step(1, 2))
        left.close()
        assert await answers(gateway, 1, 1, "e") == [9]
