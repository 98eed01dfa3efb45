"""Ensembles over a decoupled Python model, asked through the gateway."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import UnsupportedError
from service.gateway import Gateway
from service.types import InferRequest
from tests.service.ensembles.models import steps
from tests.service.test_runtime import started

REPEAT = Path(__file__).parents[2] / "conformance" / "models" / "repeat.py"
TENSORS = """
input { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] } input { name: "DELAY" data_type: TYPE_UINT32 dims: [ -1 ] }
input { name: "WAIT" data_type: TYPE_UINT32 dims: [ 1 ] }
"""
CONFIGS = {
    "repeat": TENSORS + 'output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }\n'
    'output { name: "IDX" data_type: TYPE_UINT32 dims: [ 1 ] }'
    ' backend: "python" model_transaction_policy { decoupled: true }',
    "same": """backend: "identity"
input { name: "x" data_type: TYPE_INT32 dims: [ 1 ] } output { name: "y" data_type: TYPE_INT32 dims: [ 1 ] }""",
    "after": 'platform: "ensemble"'
    + TENSORS
    + 'output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }'
    + steps("repeat IN=IN DELAY=DELAY WAIT=WAIT -> OUT=one", "same x=one -> y=OUT"),
    "outer": 'platform: "ensemble"'
    + TENSORS
    + 'output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }'
    + steps("after IN=IN DELAY=DELAY WAIT=WAIT -> OUT=one", "same x=one -> y=OUT"),
}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    for name, config in CONFIGS.items():
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(config)
    shutil.copy(REPEAT, tmp_path / "repeat" / "1" / "model.py")
    async with started(tmp_path) as (_, gateway):
        yield gateway


def repeating(gateway: Gateway, model: str, *values: int) -> InferRequest:
    inputs = {
        "IN": np.array(values, np.int32),
        "DELAY": np.ones(len(values), np.uint32),
        "WAIT": np.zeros(1, np.uint32),
    }
    return InferRequest(model, inputs, deadline=gateway.clock() + 20)


async def test_what_follows_a_decoupled_python_model_runs_once_for_each_answer(gateway: Gateway) -> None:
    """Also where that is a step of an ensemble which is itself a step."""
    for model, engine in (("after", "python+identity"), ("outer", "python+identity+identity")):
        config = gateway.model(model).config
        assert config is not None
        assert config.decoupled
        responses = await gateway.stream(repeating(gateway, model, 5, 6, 7))
        found = []
        while (response := await responses.read()) is not None:
            found.append(response)
        responses.close()
        answers = [response for response in found if response.outputs]
        assert [response.outputs["OUT"].tolist() for response in answers] == [[5], [6], [7]]
        assert {response.engine for response in answers} == {engine}
        assert [response.final for response in found][-1]
        with pytest.raises(UnsupportedError, match="gives any number of answers"):
            await gateway.infer(repeating(gateway, model, 5))
