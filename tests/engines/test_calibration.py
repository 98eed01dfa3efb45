"""Which texts int8 is calibrated with, and how they are read and packed."""

from pathlib import Path

import numpy as np
import pytest

from engines.build.calibration import packed_samples, random_samples, read_corpus, select_samples
from engines.build.errors import BuildError

TOTAL, COUNT = 400, 40
LENGTHS = np.random.default_rng(3).integers(3, 60, TOTAL).tolist()
POINTS = np.random.default_rng(4).normal(size=(TOTAL, 8)).astype(np.float32)


def clusters() -> np.ndarray:
    """Nine of ten texts say the same, the rest each say something else."""
    points = np.random.default_rng(5).normal(0, 0.01, (TOTAL, 8))
    points[::10] = POINTS[::10]
    return points.astype(np.float32)


def radius(points: np.ndarray, chosen: list[int]) -> float:
    """How far the text that is covered worst lies from a chosen one."""
    return float(np.linalg.norm(points[:, None] - points[chosen][None], axis=-1).min(axis=1).max())


def test_the_selection_is_distinct_and_ascending() -> None:
    chosen = select_samples(LENGTHS, POINTS, COUNT, 0)
    assert len(chosen) == COUNT
    assert chosen == sorted(set(chosen))
    assert chosen[0] >= 0
    assert chosen[-1] < TOTAL


def test_the_seed_decides() -> None:
    assert select_samples(LENGTHS, POINTS, COUNT, 1) == select_samples(LENGTHS, POINTS, COUNT, 1)
    assert select_samples(LENGTHS, POINTS, COUNT, 1) != select_samples(LENGTHS, POINTS, COUNT, 2)
    assert random_samples(TOTAL, COUNT, 1) == random_samples(TOTAL, COUNT, 1)
    assert random_samples(TOTAL, COUNT, 1) != random_samples(TOTAL, COUNT, 2)


@pytest.mark.parametrize("count", [5, 6])
def test_all_are_taken_where_there_are_no_more(count: int) -> None:
    assert select_samples(LENGTHS[:5], POINTS[:5], count, 0) == [0, 1, 2, 3, 4]
    assert random_samples(5, count, 0) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 3, 11, TOTAL - 1])
def test_any_count_is_met(count: int) -> None:
    assert len(set(select_samples(LENGTHS, POINTS, count, 0))) == count
    assert len(set(random_samples(TOTAL, count, 0))) == count


def test_texts_that_are_all_alike_are_taken_once_each() -> None:
    assert len(set(select_samples([7] * 50, np.ones((50, 4), np.float32), 20, 0))) == 20


def test_all_lengths_have_their_share() -> None:
    edges = np.quantile(LENGTHS, [0.25, 0.5, 0.75])
    chosen = np.searchsorted(edges, np.array(LENGTHS)[select_samples(LENGTHS, POINTS, COUNT, 0)])
    assert np.bincount(chosen, minlength=4).tolist() == pytest.approx([COUNT / 4] * 4, abs=2)


def test_what_is_rare_is_covered_better_than_by_chance() -> None:
    points = clusters()
    by_chance = [radius(points, random_samples(TOTAL, COUNT, seed)) for seed in range(5)]
    selected = [radius(points, select_samples(LENGTHS, points, COUNT, seed)) for seed in range(5)]
    assert max(selected) < 0.8 * min(by_chance)


def test_a_text_file_has_a_text_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one card\n\n  two, three \n", encoding="utf-8")
    assert read_corpus(tmp_path / "a.txt") == ["one card", "two, three"]


def test_a_csv_file_has_a_column_text(tmp_path: Path) -> None:
    (tmp_path / "a.CSV").write_text('\ufefftext,category\n"one\ncard",x\n,y\nfee,z\n', encoding="utf-8")
    assert read_corpus(tmp_path / "a.CSV") == ["one\ncard", "fee"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"", "0 texts"),
        ("a.txt", b"\n \n", "0 texts"),
        ("a.csv", b"text\n", "0 texts"),
        ("a.csv", b"", "wanted a column text, found none"),
        ("a.csv", b"words,label\nx,y\n", "wanted a column text, found words, label"),
        ("a.txt", b"\xff\xfe\x00", "UTF-8"),
        ("a.csv", b'text\n"' + b"x" * 200_000 + b'"\n', "no .csv file"),
        ("a.json", b"[]", "no .txt and no .csv"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BuildError, match=said) as raised:
        read_corpus(tmp_path / name)
    assert "\n" not in str(raised.value)
    assert name in str(raised.value)


def test_a_corpus_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot be read: No such file"):
        read_corpus(tmp_path / "none.txt")


def test_every_text_is_packed_once_and_whole() -> None:
    texts = [np.full(length, index + 1) for index, length in enumerate(LENGTHS[:60])]
    samples = packed_samples(texts, 64, 4)
    assert {sample["input_ids"].shape for sample in samples[:-1]} == {(4, 64)}
    found: dict[int, np.ndarray] = {}
    for sample in samples:
        for row in range(len(sample["input_ids"])):
            for segment in range(sample["segment_ids"][row].max() + 1):
                here = sample["segment_ids"][row] == segment
                text = sample["input_ids"][row][here]
                assert sample["position_ids"][row][here].tolist() == list(range(len(text)))
                assert text[0] not in found
                found[text[0]] = text
    assert all((found[index + 1] == text).all() for index, text in enumerate(texts))
    assert len(found) == len(texts)


def test_rows_are_full() -> None:
    samples = packed_samples([np.ones(length, np.int64) for length in LENGTHS], 64, 8)
    used = sum(int((sample["segment_ids"] >= 0).sum()) for sample in samples)
    assert used / sum(sample["segment_ids"].size for sample in samples) > 0.95


def test_a_row_holds_no_more_texts_than_its_model_has_room_for() -> None:
    (sample,) = packed_samples([np.ones(2, np.int64)] * 9, 16, 8)
    assert sample["segment_ids"].max(axis=1).tolist() == [3, 3, 0]


def test_a_text_wider_than_a_row_is_refused() -> None:
    with pytest.raises(BuildError, match="17 tokens does not fit a row of 16"):
        packed_samples([np.ones(17, np.int64)], 16, 8)
