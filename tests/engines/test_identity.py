from pathlib import Path

import numpy as np
import pytest

from engines.batch import Batch
from engines.config.pbtxt import parse
from engines.errors import EngineMemoryError, ExecutionError, ModelLoadError
from engines.identity import IdentityEngine
from engines.model_config import ModelConfig
from engines.tensor import Array

TENSORS = """
input { name: "x" data_type: TYPE_FP32 dims: [2] }
output { name: "y" data_type: TYPE_FP32 dims: [2] }
"""
TEXTS = """
input { name: "x" data_type: TYPE_STRING dims: [1] }
output { name: "y" data_type: TYPE_STRING dims: [1] }
"""


def config(tensors: str = TENSORS, **settings: str) -> ModelConfig:
    parameters = "".join(
        f'parameters {{ key: "batchyard.identity.{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in settings.items()
    )
    text = f'backend: "identity" max_batch_size: 8\n{tensors}\n{parameters}'
    return parse(text, source="config.pbtxt", folder=Path("identity"))


def rows(*firsts: float) -> Batch:
    return Batch({"x": np.array([[first, 0.5] for first in firsts], np.float32)}, len(firsts))


def run(engine: IdentityEngine, batch: Batch) -> Array:
    return engine.run(batch)["y"]


def test_delay_is_a_base_and_a_share_for_each_row() -> None:
    slept: list[float] = []
    engine = IdentityEngine(config(delay_ms="10", delay_ms_per_row="2.5"), slept.append)
    run(engine, rows(1))
    run(engine, rows(1, 2, 3, 4))
    assert slept == pytest.approx([0.0125, 0.020])


def test_no_delay_never_sleeps() -> None:
    slept: list[float] = []
    run(IdentityEngine(config(), slept.append), rows(1))
    assert slept == []


def test_fail_on_value_fails_the_batch_of_the_poison_row_only() -> None:
    engine = IdentityEngine(config(fail_on_value="13"))
    with pytest.raises(ExecutionError, match="row 2 holds"):
        engine.run(rows(1, 2, 13))
    assert run(engine, rows(1, 2)).tolist() == [[1, 0.5], [2, 0.5]]


def test_fail_on_value_of_bytes() -> None:
    engine = IdentityEngine(config(TEXTS, fail_on_value="poison"))
    with pytest.raises(ExecutionError, match="row 1"):
        engine.run(Batch({"x": np.array([[b"fine"], [b"poison"]], object)}, 2))


def test_nan_on_value_spoils_that_row_and_not_the_input() -> None:
    batch = rows(1, 13, 3)
    output = run(IdentityEngine(config(nan_on_value="13")), batch)
    assert np.isnan(output).all(axis=1).tolist() == [False, True, False]
    assert not np.isnan(batch.inputs["x"]).any()


def test_wrong_rows_on_value_loses_a_row() -> None:
    engine = IdentityEngine(config(wrong_rows_on_value="13"))
    assert len(run(engine, rows(1, 13, 3))) == 2
    assert len(run(engine, rows(1, 2, 3))) == 3


def test_crash_on_value_breaks_the_contract() -> None:
    with pytest.raises(RuntimeError, match="told to crash"):
        IdentityEngine(config(crash_on_value="13")).run(rows(13))


def test_memory_runs_out_on_a_value_and_above_a_number_of_rows() -> None:
    engine = IdentityEngine(config(memory_on_value="13", memory_above_rows="3"))
    with pytest.raises(EngineMemoryError, match="row 1 holds"):
        engine.run(rows(1, 13))
    with pytest.raises(EngineMemoryError, match="4 rows, of which this model was told to hold 3"):
        engine.run(rows(1, 2, 3, 4))
    assert len(run(engine, rows(1, 2, 3))) == 3


@pytest.mark.parametrize("setting", ["exit_on_value", "hang_on_value"])
def test_what_would_take_the_gateway_along_needs_a_process_of_its_own(setting: str) -> None:
    with pytest.raises(ModelLoadError, match=rf"{setting}' would end or stop .* batchyard\.isolation, value process"):
        IdentityEngine(config(**{setting: "13"}))


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("delay_ms", "soon", "'soon', wanted a number from 0"),
        ("delay_ms", "-1", "'-1', wanted a number from 0"),
        ("delay_ms_per_row", "inf", "wanted a number from 0"),
        ("fail_on_value", "x", "'x', wanted a value of FP32"),
        ("memory_above_rows", "few", "'few', wanted a number from 0"),
        ("explode", "1", r"identity\.explode' is unknown; known are delay_ms"),
    ],
)
def test_bad_settings_are_refused(setting: str, value: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        IdentityEngine(config(**{setting: value}))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (TENSORS + 'output { name: "z" data_type: TYPE_FP32 dims: [2] }', "1 inputs cannot make 2 outputs"),
        (TENSORS.replace('"y" data_type: TYPE_FP32', '"y" data_type: TYPE_INT32'), "declare both alike"),
        (TENSORS.replace("dims: [2] }\noutput", "dims: [3] }\noutput"), "declare both alike"),
        (TENSORS.replace("dims: [2] }\noutput", "dims: [2] optional: true }\noutput"), "no ragged or optional input"),
    ],
)
def test_outputs_that_do_not_mirror_inputs_are_refused(tensors: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        IdentityEngine(config(tensors))
