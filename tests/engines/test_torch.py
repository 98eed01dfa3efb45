from pathlib import Path

import numpy as np
import pytest

from engines import open_engine
from engines.base import Engine, EngineOptions
from engines.batch import Batch
from engines.config.pbtxt import parse
from engines.errors import EngineMemoryError, ExecutionError, InvalidInputError, ModelLoadError
from engines.model_config import ModelConfig
from engines.torch import choose_device
from tests.engines.conformance.reference import HIDDEN, VOCABULARY, WINDOW, Reference, write_encoder

torch = pytest.importorskip("torch")

CONFIG = """
backend: "pytorch" max_batch_size: 8
input [
  { name: "input_ids" data_type: TYPE_INT64 dims: [-1] },
  { name: "position_ids" data_type: TYPE_INT64 dims: [-1] },
  { name: "segment_ids" data_type: TYPE_INT64 dims: [-1] }
]
output { name: "embedding" data_type: TYPE_FP32 dims: [-1, 32] }
"""


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "batchyard.{key}" value {{ string_value: "{value}" }} }}\n'


def config(folder: Path, text: str = CONFIG) -> ModelConfig:
    return parse(text, source="config.pbtxt", folder=folder)


def encoder(folder: Path, text: str = CONFIG, threads: int = 1, device: str = "") -> Engine:
    write_encoder(folder / "1")
    return open_engine(EngineOptions(config(folder, text), folder / "1", device, threads))


def rows(ids: list[list[int]], segments: list[list[int]]) -> Batch:
    input_ids = np.array(ids)
    positions = np.tile(np.arange(input_ids.shape[1]), (len(ids), 1))
    inputs = {"input_ids": input_ids, "position_ids": positions, "segment_ids": np.array(segments)}
    return Batch(inputs, len(ids))


ONE = rows([[5, 6, 7, 8, 0, 0, 0, 0]], [[0, 0, 0, 0, -1, -1, -1, -1]])


def test_unused_segments_are_zero_and_padding_changes_nothing(tmp_path: Path) -> None:
    engine = encoder(tmp_path)
    answer = engine.run(ONE)["embedding"]
    assert answer.shape == (1, 2, HIDDEN)
    assert not answer[0, 1].any()
    full = rows([[5, 6, 7, 8]], [[0, 0, 0, 0]])
    np.testing.assert_allclose(engine.run(full)["embedding"][0, 0], answer[0, 0], atol=1e-6)


def test_a_row_narrower_than_a_segment_still_holds_one(tmp_path: Path) -> None:
    assert encoder(tmp_path).run(rows([[5, 6]], [[0, 0]]))["embedding"].shape == (1, 1, HIDDEN)


def test_int8_answers_do_not_depend_on_a_neighbour_with_outliers(tmp_path: Path) -> None:
    engine = encoder(tmp_path, CONFIG + parameter("precision", "int8"))
    answers = [
        engine.run(rows([[5, 6, 7, 8], [other] * 4], [[0] * 4, [0] * 4]))["embedding"][0] for other in range(1, 40)
    ]
    assert max(np.abs(answer - answers[0]).max() for answer in answers) < 1e-6


def test_int8_quantises_every_linear_layer(tmp_path: Path) -> None:
    from engines.encoder_source import read_encoder
    from engines.torch_encoder import load_encoder

    write_encoder(tmp_path)
    buffers = load_encoder(read_encoder(tmp_path), "int8", "cpu").buffers()
    assert sum(buffer.dtype == torch.int8 for buffer in buffers) == 2 * 4


def test_pools_the_first_token_where_the_folder_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "modules.json").write_text(
        '[{"path": "", "type": "sentence_transformers.models.Transformer"},'
        ' {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]'
    )
    answer = encoder(tmp_path).run(ONE)["embedding"][0, 0]
    mean = Reference.read(folder).embed({"input_ids": np.array([5, 6, 7, 8])})["embedding"][0]
    assert np.linalg.norm(answer) > 1.5
    assert answer @ mean / np.linalg.norm(answer) < 0.99


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("input_ids", VOCABULARY, r"'input_ids' holds .* to 100, wanted 0 to 99"),
        ("input_ids", -1, "holds -1"),
        ("position_ids", WINDOW, "wanted 0 to 63"),
        ("segment_ids", 2, "wanted -1 to 1"),
        ("segment_ids", -2, "wanted -1 to 1"),
    ],
)
def test_values_outside_the_tables_are_refused(tmp_path: Path, name: str, value: int, message: str) -> None:
    batch = rows([[5, 6, 7, 8, 0, 0, 0, 0]], [[0, 0, 0, 0, -1, -1, -1, -1]])
    batch.inputs[name][0, 3] = value
    with pytest.raises(InvalidInputError, match=message):
        encoder(tmp_path).run(batch)


def test_widths_that_differ_and_empty_batches_are_refused(tmp_path: Path) -> None:
    engine = encoder(tmp_path)
    narrow = Batch({**ONE.inputs, "segment_ids": ONE.inputs["segment_ids"][:, :4]}, 1)
    empty = Batch({name: array[:, :0] for name, array in ONE.inputs.items()}, 1)
    for batch in (narrow, empty):
        with pytest.raises(InvalidInputError, match="wanted the same, and not empty"):
            engine.run(batch)


def test_threads_hold_where_the_engine_runs(tmp_path: Path) -> None:
    engine = encoder(tmp_path, threads=3)
    before = torch.get_num_threads()
    try:
        engine.run(ONE)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("group", "device", "found", "chosen"),
    [
        ("", "", 1, "cpu"),
        ("instance_group { kind: KIND_CPU }", "", 1, "cpu"),
        ("instance_group { kind: KIND_GPU }", "", 1, "cuda"),
        ("instance_group { kind: KIND_GPU }", "CUDA:1", 2, "cuda:1"),
        ("", "cpu", 0, "cpu"),
    ],
)
def test_device(tmp_path: Path, group: str, device: str, found: int, chosen: str) -> None:
    assert choose_device(config(tmp_path, CONFIG + group), device, found) == chosen


@pytest.mark.parametrize(
    ("extra", "device", "found", "message"),
    [
        ("instance_group { kind: KIND_GPU }", "", 0, "wants device cuda, but torch finds 0 CUDA devices; use KIND_CPU"),
        ("", "cuda:1", 1, "finds 1 CUDA devices"),
        ("", "tpu", 1, "'tpu' is unknown; use cpu, cuda or cuda:0"),
        ("", "cuda:x", 1, "unknown"),
        (parameter("precision", "int8"), "cuda", 1, "int8 runs on the CPU only"),
    ],
)
def test_device_that_cannot_serve(tmp_path: Path, extra: str, device: str, found: int, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        choose_device(config(tmp_path, CONFIG + extra), device, found)


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin"])
def test_files_that_can_run_code_are_refused_by_name(tmp_path: Path, name: str) -> None:
    write_encoder(tmp_path / "1")
    (tmp_path / "1" / "model.safetensors").rename(tmp_path / "1" / name)
    with pytest.raises(ModelLoadError, match=f"{name} is not served, since pickles and TorchScript can run code"):
        open_engine(EngineOptions(config(tmp_path), tmp_path / "1"))
    with pytest.raises(ModelLoadError, match="is not served"):
        open_engine(EngineOptions(config(tmp_path, CONFIG + f'default_model_filename: "{name}"'), tmp_path / "1"))


def test_weights_that_are_a_pickle_are_refused(tmp_path: Path) -> None:
    write_encoder(tmp_path / "1")
    torch.save({"a": torch.zeros(1)}, tmp_path / "1" / "model.safetensors")
    with pytest.raises(ModelLoadError, match="cannot be read as safetensors"):
        open_engine(EngineOptions(config(tmp_path), tmp_path / "1"))


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    write_encoder(tmp_path / "1")
    (tmp_path / "1" / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (tmp_path / "1" / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ModelLoadError, match="is a link that leads out of"):
        open_engine(EngineOptions(config(tmp_path), tmp_path / "1"))


def test_encoder_in_a_folder_of_its_own(tmp_path: Path) -> None:
    write_encoder(tmp_path / "1" / "0_Transformer")
    (tmp_path / "1" / "modules.json").write_text(
        '[{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]'
    )
    answer = open_engine(EngineOptions(config(tmp_path), tmp_path / "1")).run(ONE)["embedding"][0, 0]
    wanted = Reference.read(tmp_path / "1" / "0_Transformer").embed({"input_ids": np.array([5, 6, 7, 8])})["embedding"]
    np.testing.assert_allclose(answer / np.linalg.norm(answer), wanted[0], atol=1e-5)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    write_encoder(tmp_path / "1")
    (tmp_path / "1" / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
        open_engine(EngineOptions(config(tmp_path), tmp_path / "1"))


def test_configuration_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"output embedding TYPE_FP32 with dims \[-1, 32\]; declare these"):
        encoder(tmp_path, CONFIG.replace("[-1, 32]", "[-1, 16]"))


def test_running_out_of_memory_and_other_failures_are_told_apart(tmp_path: Path) -> None:
    from engines.encoder_source import read_encoder
    from engines.torch_encoder import load_encoder

    write_encoder(tmp_path)
    encoder = load_encoder(read_encoder(tmp_path), "fp32", "cpu")
    beyond_any_memory = np.broadcast_to(np.int64(1), (2**20, 2**27))
    with pytest.raises(EngineMemoryError, match="torch ran out of memory on cpu"):
        encoder.encode([beyond_any_memory] * 3, 1)
    with pytest.raises(ExecutionError, match="torch failed on cpu: index out of range") as failed:
        encoder.encode([np.full((1, 4), VOCABULARY)] * 3, 1)
    assert not isinstance(failed.value, EngineMemoryError)
