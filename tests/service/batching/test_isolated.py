"""A model whose engines are processes of their own: one of its rows ends them, or hangs them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from engines.repository import scan_all
from service.batching.replica import Identity, LocalReplica
from service.cores import CoreBudget
from service.errors import EngineFailedError
from service.opening import Machine, open_version
from service.types import InferRequest, InferResponse, Job

EXIT, HANG, NAN = 13.0, 14.0, 15.0
CONFIG = """
name: "guinea"
backend: "identity"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { }
parameters { key: "batchyard.isolation" value { string_value: "process" } }
parameters { key: "batchyard.watchdog_ms" value { string_value: "1000" } }
parameters { key: "batchyard.finite" value { string_value: "true" } }
parameters { key: "batchyard.identity.delay_ms" value { string_value: "5" } }
parameters { key: "batchyard.identity.exit_on_value" value { string_value: "13" } }
parameters { key: "batchyard.identity.hang_on_value" value { string_value: "14" } }
parameters { key: "batchyard.identity.nan_on_value" value { string_value: "15" } }
"""


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[LocalReplica]:
    (folder / "guinea" / "1").mkdir(parents=True)
    (folder / "guinea" / "config.pbtxt").write_text(CONFIG, "utf-8")
    (entry,) = scan_all([folder])
    assert entry.config is not None, entry.error
    machine = Machine(CoreBudget(2), 2, time.monotonic, 1000)
    version = await asyncio.to_thread(open_version, entry.config, entry.folder, "1", machine, machine.cores)
    identity = Identity("guinea", "1", "identity", version.threads, entry.config.finite)
    made = LocalReplica(identity, version.engines, version.batcher, machine.cores, time.monotonic, lambda _: None)
    try:
        yield made
    finally:
        await made.close(10.0)


async def ask(made: LocalReplica, value: float) -> InferResponse:
    inputs = {"x": np.array([[value]], np.float32)}
    return await made.infer(Job(InferRequest("guinea", inputs), (inputs,), (1,)))


@pytest.mark.parametrize(("bad", "said"), [(EXIT, "was lost 2 times"), (HANG, "was lost 2 times"), (NAN, "NaN")])
async def test_a_row_that_ends_its_engine_is_found_and_its_neighbours_are_answered(
    tmp_path: Path, bad: float, said: str
) -> None:
    async with opened(tmp_path) as made:
        tasks = [asyncio.create_task(ask(made, float(n))) for n in range(12)]
        guilty = asyncio.create_task(ask(made, bad))
        tasks += [asyncio.create_task(ask(made, float(n))) for n in range(100, 112)]
        async with asyncio.timeout(60):
            answers = [float((await task).outputs["y"][0, 0]) for task in tasks]
            with pytest.raises(EngineFailedError, match=said) as failed:
                await guilty
        assert answers == [*map(float, range(12)), *map(float, range(100, 112))]
        assert not failed.value.retryable
        with pytest.raises(EngineFailedError, match="refused for another"):
            await ask(made, bad)
        assert made.faults.poison == 1
