"""Implicit state is kept by the gateway: it outlives the process of the engine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.errors import EngineFailedError
from service.types import InferRequest, SequenceStep
from tests.service.batching.gate import until
from tests.service.test_runtime import opened

CONFIG = """
backend: "identity" max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "after" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
sequence_batching { max_sequence_idle_microseconds: 60000000
  state { input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ] } }
parameters { key: "batchyard.isolation" value { string_value: "process" } }
parameters { key: "batchyard.identity.exit_on_value" value { string_value: "13" } }
"""
"""y is x of the request before: the engine gives its inputs, x and before, back as after and y."""


async def test_a_sequence_goes_on_though_its_engine_was_lost(tmp_path: Path, write: Callable[..., None]) -> None:
    write("m", CONFIG)
    async with opened(tmp_path) as gateway:

        async def ask(value: float, start: bool = False) -> float:
            request = InferRequest("m", {"x": np.array([[value]], np.float32)}, sequence=SequenceStep(1, start))
            return float((await gateway.infer(request)).outputs["y"].item())

        assert await ask(5, start=True) == 0
        assert await ask(6) == 5
        with pytest.raises(EngineFailedError, match="the engine was lost 2 times"):
            await ask(13)
        await until(lambda: gateway.model("m").ready)
        assert await ask(7) == 6
