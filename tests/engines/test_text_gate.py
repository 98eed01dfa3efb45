"""The gate by numbers: what it keeps, and how much each window stands for."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from engines.build.gate_table import DIMENSIONS, write_gate_table
from engines.encoder_source import read_encoder
from engines.errors import ModelLoadError
from engines.repository import read_config
from engines.text import TokenIds
from engines.text_gate import GATE_FILE, LEAST_LIKENESS, SCALES, TABLE, TextGate
from tests.engines.tiny_encoder import VOCABULARY, Shape, build, write_encoder

WORDS = 400
TOPICS, PER_TOPIC = 4, 100


def gate() -> TextGate:
    """Words of one topic point the same way, more or less."""
    random = np.random.default_rng(5)
    centres = np.repeat(random.normal(size=(TOPICS, 16)), PER_TOPIC, axis=0)
    rows = 40 * (centres + 0.7 * random.normal(size=(WORDS, 16)))
    return TextGate(np.clip(np.rint(rows), -127, 127).astype(np.int8), np.full(WORDS, 0.02, np.float32))


def about(topic: int, seed: int, length: int = 60) -> TokenIds:
    return np.random.default_rng(seed).integers(topic * PER_TOPIC, (topic + 1) * PER_TOPIC, length)


windows_of = st.lists(
    st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=30).map(lambda ids: np.array(ids, np.int64)),
    min_size=1,
    max_size=40,
)
shares = st.floats(0, 1, exclude_max=True)


@given(windows_of, shares)
def test_something_is_kept_and_stands_for_the_whole(windows: Sequence[TokenIds], share: float) -> None:
    weights = gate().weigh(windows, share)
    assert weights.shape == (len(windows),)
    assert weights.min() >= 0
    assert weights.max() > 0
    assert weights.sum() == pytest.approx(sum(map(len, windows)))


@given(windows_of, shares)
def test_the_same_windows_give_the_same_weights(windows: Sequence[TokenIds], share: float) -> None:
    assert gate().weigh(windows, share).tolist() == gate().weigh([ids.copy() for ids in windows], share).tolist()


@given(windows_of, shares)
def test_equal_windows_are_kept_once(windows: Sequence[TokenIds], share: float) -> None:
    weights = gate().weigh([*windows, *windows], share)
    kept = [windows[number % len(windows)].tobytes() for number in np.flatnonzero(weights).tolist()]
    assert len(set(kept)) == len(kept)


def test_equal_windows_stand_for_as_many_as_they_are() -> None:
    one, other = about(0, 1), about(2, 2)
    assert gate().weigh([one, other, one, one], 0.0) == pytest.approx([180, 60, 0, 0])


@given(windows_of)
def test_without_a_share_all_that_differs_is_kept_by_its_length(windows: Sequence[TokenIds]) -> None:
    weights = gate().weigh(windows, 0.0)
    lengths: dict[bytes, int] = {}
    for ids in windows:
        lengths[ids.tobytes()] = lengths.get(ids.tobytes(), 0) + len(ids)
    kept = {windows[number].tobytes(): weights[number] for number in np.flatnonzero(weights).tolist()}
    assert kept == pytest.approx(lengths)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_at_most_the_share_is_left_out(share: float) -> None:
    windows = [about(number % TOPICS, number) for number in range(40)]
    kept = np.count_nonzero(gate().weigh(windows, share))
    assert kept == round((1 - share) * 40)


def test_what_is_kept_is_like_the_whole_whatever_the_share() -> None:
    """One window of a topic, and many of another: a share of 0.99 would keep one of them."""
    windows = [*(about(0, number) for number in range(20)), *(about(3, number) for number in range(100, 104))]
    found = gate()
    weights = found.weigh(windows, 0.99)
    assert np.count_nonzero(weights) < len(windows)
    assert weights[:20].max() > 0
    assert weights[20:].max() > 0
    vectors = found._vectors(windows)
    whole, kept = np.full(len(windows), 60) @ vectors, weights @ vectors
    assert whole @ kept / np.linalg.norm(whole) / np.linalg.norm(kept) > LEAST_LIKENESS


def test_weights_stand_for_topics_not_for_windows() -> None:
    windows = [*(about(0, number) for number in range(30)), *(about(2, number) for number in range(100, 110))]
    weights = gate().weigh(windows, 0.7)
    assert weights[:30].sum() == pytest.approx(30 * 60, rel=0.1)


def test_windows_without_a_direction_are_served() -> None:
    nothing = TextGate(np.zeros((9, 4), np.int8), np.ones(9, np.float32))
    windows = [np.array([number]) for number in range(9)]
    assert nothing.weigh(windows, 0.5).sum() == pytest.approx(9)


def test_the_file_holds_the_embedding_table(tmp_path: Path) -> None:
    source = write_encoder(tmp_path / "encoder")
    write_gate_table(read_encoder(source), tmp_path)
    content = load_file(tmp_path / GATE_FILE)
    found = content[TABLE] * content[SCALES][:, np.newaxis]
    table = load_file(source / "model.safetensors")["embeddings.word_embeddings.weight"]
    centred = table - table.mean(axis=0)
    assert found @ found.T == pytest.approx(centred @ centred.T, abs=0.5)
    assert TextGate.from_folder(tmp_path, len(VOCABULARY)).weigh([np.array([5, 6])], 0.5) == pytest.approx([2])


def test_the_table_is_narrow(tmp_path: Path) -> None:
    source = write_encoder(tmp_path / "encoder", shape=Shape(hidden=DIMENSIONS + 32))
    write_gate_table(read_encoder(source), tmp_path)
    assert load_file(tmp_path / GATE_FILE)[TABLE].shape == (len(VOCABULARY), DIMENSIONS)


def test_a_built_model_has_it_and_splits_long_texts(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    model = repository / "tiny_onnx"
    assert GATE_FILE in json.loads((model / "1" / "manifest.json").read_text())["artefacts"]
    settings = read_config(model).text
    assert settings is not None
    assert settings.windows
    assert settings.gate == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({TABLE: np.zeros((5, 4), np.int8), SCALES: np.ones(5, np.float32)}, "at least 6 tokens"),
        ({TABLE: np.zeros((6, 4), np.float32), SCALES: np.ones(6, np.float32)}, r"found float32 \[6, 4\]"),
        ({TABLE: np.zeros((6, 4), np.int8), SCALES: np.ones(5, np.float32)}, r"scales \[5\]"),
        ({TABLE: np.zeros((6, 4), np.int8)}, "cannot be read.*scales"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, content: dict[str, np.ndarray], message: str) -> None:
    save_file(content, tmp_path / GATE_FILE)
    with pytest.raises(ModelLoadError, match=message):
        TextGate.from_folder(tmp_path, 6)


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=f"'{GATE_FILE}' is not in .*build the model"):
        TextGate.from_folder(tmp_path, 6)
    (tmp_path / GATE_FILE).write_bytes(b"nothing")
    with pytest.raises(ModelLoadError, match="cannot be read as the gate's table"):
        TextGate.from_folder(tmp_path, 6)
