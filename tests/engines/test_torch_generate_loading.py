"""What the torch generator opens, and what it refuses."""

import json
import warnings
from pathlib import Path

import pytest

from engines import open_generator
from engines.errors import InvalidInputError, ModelLoadError
from engines.text_generator import TextGenerator
from tests.engines.generators.driving import config_text, options, request
from tests.engines.generators.tiny_llama import WINDOW, rewrite, write_model

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def opened(folder: Path, device: str = "", **parameters: object) -> TextGenerator:
    return open_generator(options(folder, config_text("torch_generate", **parameters), device))


def refusal(folder: Path, device: str = "", **parameters: object) -> str:
    with pytest.raises(ModelLoadError) as caught:
        opened(folder, device, **parameters)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "m")
    return tmp_path / "m"


def test_opens_quietly(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(folder).warm_up()
    assert capfd.readouterr() == ("", "")


def test_pickles_are_not_read(folder: Path) -> None:
    weights = folder / "1" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    assert "no *.safetensors file; pickles" in refusal(folder)


def test_code_of_the_folder_does_not_run(folder: Path) -> None:
    (folder / "1" / "code.py").write_text("raise SystemExit('ran')\nclass Config: ...\nclass Model: ...\n")
    auto_map = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    rewrite(folder / "1", "config.json", model_type="unheard_of", auto_map=auto_map, architectures=["Model"])
    message = refusal(folder)
    assert "config.json cannot be read" in message
    assert "ran" not in message.split()


def test_links_that_lead_out_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = folder / "1" / "model.safetensors"
    weights.rename(tmp_path / "elsewhere.safetensors")
    weights.symlink_to(tmp_path / "elsewhere.safetensors")
    assert "is a link that leads out" in refusal(folder)


def test_no_config_and_a_broken_one(folder: Path) -> None:
    (folder / "1" / "config.json").write_text("{")
    assert "config.json cannot be read" in refusal(folder)
    (folder / "1" / "config.json").unlink()
    assert "'config.json' is not in '1'" in refusal(folder)


def test_weights_that_are_missing_are_not_made_up(folder: Path) -> None:
    rewrite(folder / "1", "config.json", num_hidden_layers=3)
    assert "9 missing keys in the safetensors files (model.layers.2." in refusal(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    rewrite(folder / "1", "config.json", intermediate_size=64)
    assert "6 mismatched keys in the safetensors files (model.layers.0.mlp.down_proj.weight" in refusal(folder)


def test_broken_weights_are_refused(folder: Path) -> None:
    (folder / "1" / "model.safetensors").write_bytes(b"nothing")
    assert "transformers cannot load the folder" in refusal(folder)


def test_adapters_are_refused(folder: Path) -> None:
    (folder / "1" / "adapter_config.json").write_text("{}")
    assert "merge the adapter into the model first" in refusal(folder)


def test_unknown_precisions_and_devices_are_refused(folder: Path) -> None:
    assert "knows no precision int8; use fp32, bf16, fp16" in refusal(folder, precision="int8")
    assert "torch device 'NPU' is unknown" in refusal(folder, "NPU")
    assert "torch finds" in refusal(folder, "cuda:99")


def test_windows_beyond_the_model_are_refused(folder: Path) -> None:
    assert f"max_position_embeddings of {WINDOW}; set the window to at most {WINDOW}" in refusal(
        folder, generation__window=WINDOW + 1
    )


def test_a_sliding_window_is_served_up_to_where_it_slides(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "mistral", sliding_window=24)
    generator = opened(tmp_path / "m")
    assert generator.limits.window == 24
    with pytest.raises(InvalidInputError, match="together they may have 24"):
        generator.check(request(range(10, 30), 5))
    assert "its sliding_window of 24" in refusal(tmp_path / "m", generation__window=25)


def test_positions_that_depend_on_neighbours_are_not_reached(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, **factors}
    lengths = {"max_position_embeddings": 64, "original_max_position_embeddings": 32}
    write_model(tmp_path / "m", "phi3", rope_parameters=rope, sliding_window=None, **lengths)
    assert opened(tmp_path / "m").limits.window == 32


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("mamba", {"num_hidden_layers": 2}, "cannot batch"),
        ("bert", {}, "cannot batch bert: its logits in a batch differ"),
        ("bloom", {"n_head": 4, "max_position_embeddings": None}, "names no max_position_embeddings"),
    ],
)
def test_architectures_that_cannot_be_batched_are_refused(
    tmp_path: Path, kind: str, changes: dict[str, object], message: str
) -> None:
    write_model(tmp_path / "m", kind, **changes)
    assert message in refusal(tmp_path / "m")


def test_models_without_positions_of_their_own_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "bloom", n_head=4, max_position_embeddings=None)
    assert "takes no position_ids or no cache; serve it with" in refusal(tmp_path / "m", generation__window=32)


def test_encoders_are_refused(folder: Path) -> None:
    (folder / "1" / "config.json").write_text(json.dumps({"model_type": "t5"}))
    assert "t5 has an encoder" in refusal(folder)
