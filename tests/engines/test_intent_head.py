"""Fitting a head: right, the same every time, and as the linear engine wants it."""

import csv
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from engines import open_engine
from engines.base import EngineOptions
from engines.batch import Batch
from engines.build.errors import BuildError
from engines.build.fit_head import accuracy, fit_head, main, read_examples, write_head
from engines.build.head_training import Floats, Recipe, Weights, train_head
from engines.repository import read_config
from tests.engines.tiny_encoder import HIDDEN, build, write_encoder

REPOSITORY = Path(__file__).parents[2] / "model_repository"
QUICK = Recipe(members=2, hidden=32, epochs=10, batch=16)
CONSOLE = Console(file=StringIO())
CONFIG = """
backend: "linear"
max_batch_size: 8
input [ { name: "embedding" data_type: TYPE_FP32 dims: [ %d ] } ]
output [
  { name: "label" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "logits" data_type: TYPE_FP32 dims: [ %d ] label_filename: "labels.txt" }
]
"""
EXAMPLES = {
    "lost_card": ("i lost my card", "my card is lost", "card lost", "lost my new card", "where is my lost card"),
    "top_up": ("top up", "top up fee", "is a top up new", "top ups", "a top up"),
    "pin": ("my pin", "where is my pin", "pin?", "new pin", "a pin"),
}


def clusters(kinds: int = 5, rows: int = 40) -> tuple[Floats, np.ndarray]:
    """Embeddings of length 1 around `kinds` centres, 24 wide."""
    random = np.random.default_rng(3)
    classes = np.repeat(np.arange(kinds), rows)
    points = random.normal(size=(kinds, 24))[classes] + 0.3 * random.normal(size=(kinds * rows, 24))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), classes


def fitted(recipe: Recipe) -> Weights:
    embeddings, classes = clusters()
    return train_head(embeddings, classes, recipe, lambda done, total: None)


def write_config(head: Path, features: int, classes: int) -> None:
    (head / "config.pbtxt").write_text(CONFIG % (features, classes))


def write_examples(path: Path) -> Path:
    rows = [(text, label) for label, texts in EXAMPLES.items() for text in texts]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "category"), *rows])
    return path


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    build(write_encoder(tmp_path / "source"), tmp_path / "models", "onnxruntime")
    return tmp_path / "models" / "tiny_onnx"


def test_clusters_are_told_apart_by_the_served_head(tmp_path: Path) -> None:
    embeddings, classes = clusters()
    head = tmp_path / "head"
    write_head(fitted(QUICK), [f"kind {i}" for i in range(5)], head)
    write_config(head, 24, 5)
    engine = open_engine(EngineOptions(read_config(head), head / "1"))
    labels = engine.run(Batch({"embedding": embeddings}, len(embeddings)))["label"].ravel()
    assert [label.decode() for label in labels] == [f"kind {i}" for i in classes]


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (
        fitted(QUICK),
        fitted(QUICK),
        fitted(Recipe(members=2, hidden=32, epochs=10, batch=16, seed=1)),
    )
    for one, two, three in zip(first, second, other, strict=True):
        assert one.dtype == np.float32
        assert np.array_equal(one, two)
        assert not np.array_equal(one, three)


def test_progress_counts_every_epoch_of_every_member() -> None:
    seen: list[tuple[int, int]] = []
    embeddings, classes = clusters(rows=4)
    train_head(embeddings, classes, QUICK, lambda done, total: seen.append((done, total)))
    assert seen == [(i, 20) for i in range(1, 21)]


def test_a_head_is_fitted_from_texts(encoder: Path, tmp_path: Path) -> None:
    examples = write_examples(tmp_path / "train.csv")
    head = tmp_path / "models" / "head"
    recipe = Recipe(members=1, hidden=64, epochs=100, batch=5, decay=0, dropout=0, noise=0, smoothing=0)
    fit_head(encoder, examples, head, CONSOLE, recipe)
    assert (head / "labels.txt").read_text() == "lost_card\npin\ntop_up\n"
    write_config(head, HIDDEN, 3)
    assert accuracy(encoder, examples, head, CONSOLE) == 1.0
    before = (head / "1" / "head.safetensors").read_bytes()
    fit_head(encoder, examples, head, CONSOLE, recipe)
    assert (head / "1" / "head.safetensors").read_bytes() == before
    assert sorted(path.name for path in head.iterdir()) == ["1", "config.pbtxt", "labels.txt"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("text,category\n", "has no examples"),
        ("message,intent\nhello,greeting\n", "example 1 has no text"),
        ("text,category\nhello,a\nhi,\n", "example 2 has no text or no category"),
    ],
)
def test_bad_examples_are_named(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "train.csv"
    path.write_text(content)
    with pytest.raises(BuildError, match=found):
        read_examples(path)


def test_the_command_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([str(tmp_path / "none.csv"), "--head", str(tmp_path / "head")])
    assert raised.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_one_category_is_not_enough(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,category\nhello,a\nhi,a\n")
    with pytest.raises(BuildError, match="two or more"):
        fit_head(tmp_path, path, tmp_path / "head", CONSOLE)


def test_the_committed_head_opens_and_gives_its_labels() -> None:
    folder = REPOSITORY / "intent_head"
    config = read_config(folder)
    engine = open_engine(EngineOptions(config, folder / "1"))
    outputs = engine.run(Batch({"embedding": np.eye(3, 384, dtype=np.float32)}, 3))
    assert outputs["logits"].shape == (3, 77)
    labels = (folder / "labels.txt").read_text().splitlines()
    assert [label.decode() for label in outputs["label"].ravel()] == [labels[i] for i in outputs["logits"].argmax(1)]


def test_the_ensemble_names_the_same_labels() -> None:
    head, ensemble = (read_config(REPOSITORY / name) for name in ("intent_head", "intent"))
    assert [spec.labels for spec in head.outputs] == [spec.labels for spec in ensemble.outputs]
    assert len(ensemble.outputs[2].labels) == 77
