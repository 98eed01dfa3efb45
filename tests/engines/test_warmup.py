"""Every shape that will be served is run before the first caller."""

from pathlib import Path

import numpy as np
import pytest

from engines.config.pbtxt import parse
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig
from engines.warmup import warmup_batches

OUTPUT = 'output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }\n'
PACKED = "".join(
    f'input {{ name: "{name}" data_type: TYPE_INT64 dims: [ -1 ] }}\n'
    for name in ("input_ids", "position_ids", "segment_ids")
)


def config(folder: Path, text: str) -> ModelConfig:
    return parse(f'backend: "identity"\n{OUTPUT}{text}', source="config.pbtxt", folder=folder)


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "batchyard.{key}" value {{ string_value: "{value}" }} }}\n'


def sample(data: str, count: int = 1) -> str:
    given = f'inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: [ 3 ] {data} }} }}'
    return f'model_warmup {{ name: "s" batch_size: 2 count: {count} {given} }}\n'


VECTOR = 'max_batch_size: 8\ninput { name: "x" data_type: TYPE_FP32 dims: [ 3 ] }\n'


def test_packed_models_get_every_row_width_and_count(tmp_path: Path) -> None:
    packing = parameter("packing.widths", "8,32") + parameter("packing.max_tokens", "64")
    batches = list(warmup_batches(config(tmp_path, f"max_batch_size: 8\n{PACKED}{packing}")))
    shapes = [batch.inputs["input_ids"].shape for batch in batches]
    assert shapes == [(n, 8) for n in (1, 2, 3, 4, 6, 8)] + [(1, 32), (2, 32)]
    assert batches[-1].inputs["segment_ids"].tolist() == [[0] * 16 + [1] * 16] * 2
    assert batches[-1].inputs["position_ids"].tolist() == [[*range(16)] * 2] * 2
    assert {array.dtype for batch in batches for array in batch.inputs.values()} == {np.dtype(np.int64)}


def test_a_sample_of_zeros_is_run_as_often_as_it_says(tmp_path: Path) -> None:
    batches = list(warmup_batches(config(tmp_path, VECTOR + sample("zero_data: true", count=3))))
    assert [batch.size for batch in batches] == [2, 2, 2]
    np.testing.assert_array_equal(batches[0].inputs["x"], np.zeros((2, 3), np.float32))


def test_a_random_sample_is_of_its_type(tmp_path: Path) -> None:
    (batch,) = warmup_batches(config(tmp_path, VECTOR + sample("random_data: true")))
    assert batch.inputs["x"].dtype == np.float32
    assert batch.inputs["x"].any()


@pytest.mark.parametrize("kind", ["BOOL", "INT8", "UINT64", "FP16", "STRING"])
def test_random_values_of_every_kind(kind: str, tmp_path: Path) -> None:
    given = f'inputs {{ key: "x" value {{ data_type: TYPE_{kind} dims: [ 2, 2 ] random_data: true }} }}'
    text = f'input {{ name: "x" data_type: TYPE_{kind} dims: [ 2, 2 ] }}\nmodel_warmup {{ name: "s" {given} }}\n'
    found = config(tmp_path, text)
    (batch,) = warmup_batches(found)
    assert batch.inputs["x"].shape == (2, 2)
    assert batch.inputs["x"].dtype == found.inputs[0].datatype.numpy
    assert kind != "STRING" or all(isinstance(item, bytes) and len(item) == 8 for item in batch.inputs["x"].flat)


def test_a_sample_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "x.raw").write_bytes(np.array([1, 2, 3], np.float32).tobytes())
    (batch,) = warmup_batches(config(tmp_path, VECTOR + sample('input_data_file: "x.raw"')))
    assert batch.inputs["x"].tolist() == [[1, 2, 3], [1, 2, 3]]


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "x.raw").write_bytes(bytes(8))
    with pytest.raises(ModelLoadError, match=r"'x.raw' of input 'x': FP32 tensor of shape \[3\] needs 12 bytes"):
        list(warmup_batches(config(tmp_path, VECTOR + sample('input_data_file: "x.raw"'))))


def test_without_samples_one_row_of_zeros(tmp_path: Path) -> None:
    (batch,) = warmup_batches(config(tmp_path, VECTOR))
    assert (batch.size, batch.inputs["x"].shape) == (1, (1, 3))


def test_padded_inputs_are_given_a_length(tmp_path: Path) -> None:
    text = 'max_batch_size: 8\ninput { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] }\n' + parameter(
        "padding.ids", "0"
    )
    (batch,) = warmup_batches(config(tmp_path, text))
    assert batch.inputs["ids"].shape == (1, 16)


def test_open_sizes_are_not_guessed(tmp_path: Path) -> None:
    text = 'max_batch_size: 8\ninput { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }\n'
    assert list(warmup_batches(config(tmp_path, text))) == []


def test_without_samples_a_string_is_a_number(tmp_path: Path) -> None:
    text = 'max_batch_size: 8\ninput { name: "x" data_type: TYPE_STRING dims: [ 2 ] }\n'
    (batch,) = warmup_batches(config(tmp_path, text))
    assert batch.inputs["x"].tolist() == [[b"0", b"0"]]
