"""auto_complete_config: the class that models complete, and whole models that do."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines import complete_config
from engines.base import EngineOptions
from engines.errors import ModelLoadError
from engines.model_config import DynamicBatching
from engines.python_backend.inside.auto_complete import ModelConfig
from tests.engines.python_backend.calling import call, outputs
from tests.engines.python_backend.conftest import Opener

GIVEN = {
    "name": "m",
    "max_batch_size": 2,
    "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": [4], "optional": False}],
    "output": [],
    "model_transaction_policy": {"decoupled": False},
}
SEQUENCE: dict[str, Any] = {"sequence_batching": {}}


def given(**more: Any) -> ModelConfig:
    return ModelConfig(json.dumps({**GIVEN, **more}))


def test_a_model_completes_its_configuration(models: Opener) -> None:
    options = models.prepare("completing", own="kept")
    assert options.config.inputs == ()
    config = complete_config(options.config, options.folder)
    assert [(spec.name, spec.datatype.name, spec.shape, spec.optional) for spec in config.inputs] == [
        ("X", "FP32", (-1,), True)
    ]
    assert [spec.name for spec in config.outputs] == ["Y"]
    assert config.max_batch_size == 4
    assert config.dynamic_batching == DynamicBatching()
    assert not config.decoupled
    assert config.parameters == {"own": "kept"}
    engine = models.open(EngineOptions(config, options.folder))
    assert outputs(engine, call({"X": np.ones((2, 3), np.float32)}))["Y"].shape == (2, 3)


def test_a_model_may_make_itself_decoupled(models: Opener) -> None:
    options = models.prepare("completing", decoupled="yes")
    assert complete_config(options.config, options.folder).decoupled


def test_a_model_without_the_function_is_left_as_it_is(models: Opener) -> None:
    options = models.prepare("arithmetic")
    assert complete_config(options.config, options.folder) is options.config


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"return": "no config"}, "function in model 'completing' must return a valid pb.ModelConfig object"),
        ({"wrong": "{}"}, "is missing 'name' property"),
        ({"wrong": '{\\"name\\": \\"Z\\", \\"data_type\\": \\"TYPE_FP99\\", \\"dims\\": [1]}'}, "set output wrongly"),
        (
            {"wrong": '{\\"name\\": \\"Z\\", \\"data_type\\": \\"TYPE_FP32\\", \\"dims\\": [0]}'},
            r"auto_complete_config of model 'completing': output\[1\]\.dims",
        ),
    ],
)
def test_what_is_no_configuration_is_refused(models: Opener, parameters: dict[str, str], words: str) -> None:
    options = models.prepare("completing", **parameters)
    with pytest.raises(ModelLoadError, match=words):
        complete_config(options.config, options.folder)


def test_what_is_missing_is_filled_in() -> None:
    config = given(input=[{"name": "X", "data_type": "TYPE_INVALID", "dims": []}])
    config.add_input({"name": "X", "data_type": "TYPE_INT8", "dims": [2], "optional": True})
    config.add_output({"name": "Y", "data_type": "TYPE_INT8", "dims": [-1]})
    config.add_output({"name": "Y", "data_type": "TYPE_INT8", "dims": [-1]})
    config.set_max_batch_size(8)
    config.set_dynamic_batching()
    config.set_model_transaction_policy({"decoupled": False})
    assert config.as_dict() == {
        "name": "m",
        "max_batch_size": 8,
        "input": [{"name": "X", "data_type": "TYPE_INT8", "dims": [2], "optional": True}],
        "output": [{"name": "Y", "data_type": "TYPE_INT8", "dims": [-1]}],
        "model_transaction_policy": {"decoupled": False},
        "dynamic_batching": {},
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.set_max_batch_size(1), "specified max_batch_size 2, but .* specified max_batch_size 1"),
        (lambda c: c.add_input({"name": "Z", "data_type": "TYPE_INT8"}), "input 'Z' .* is missing 'dims' property"),
        (lambda c: c.add_input({"name": "Z", "dims": []}), "input 'Z' .* is missing 'data_type' property"),
        (lambda c: c.add_output({"dims": []}), "output in .* is missing 'name' property"),
        (lambda c: c.add_output({"name": "Z", "optional": True}), "property other than 'name', 'data_type' and 'dims'"),
        (lambda c: c.add_input({"name": "Z", "more": 1}), "other than 'name', 'data_type', 'dims' and 'optional'"),
        (lambda c: c.add_input({"name": "X", "data_type": "TYPE_INT8", "dims": [4]}), "model provides TYPE_INT8"),
        (lambda c: c.add_input({"name": "X", "data_type": "TYPE_FP32", "dims": [5]}), r"expects dims \[5\]"),
        (
            lambda c: c.add_input({"name": "X", "data_type": "TYPE_FP32", "dims": [4], "optional": True}),
            "expects optional True",
        ),
        (lambda c: c.set_model_transaction_policy({"decoupled": True}), "already set to 'False'"),
        (lambda c: c.set_model_transaction_policy({"more": True}), "property other than 'decoupled'"),
    ],
)
def test_what_contradicts_the_configuration_is_refused(change: Callable[[ModelConfig], None], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        change(given())


def test_dynamic_batching_does_not_replace_another_scheduler() -> None:
    with pytest.raises(ValueError, match="scheduling_choice as 'sequence_batching'"):
        given(**SEQUENCE).set_dynamic_batching()
