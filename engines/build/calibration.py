"""Texts to calibrate int8 with: read from a corpus, a few hundred that cover it, packed into rows.

Chosen are texts of all lengths, of each length those that lie apart in embedding space. Source: O. Sener, S. Savarese,
"Active Learning for Convolutional Neural Networks: A Core-Set Approach", arXiv:1708.00489 (k-center greedy).
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from engines.batch import Packed, Placement
from engines.build.errors import BuildError
from engines.model_config import segments_of
from engines.tensor import Array

Samples = Sequence[Mapping[str, Array]]
"""Packed batches, each `input_ids`, `position_ids` and `segment_ids`, INT64 [rows, width]."""

_STRATA = 8


def select_samples(lengths: Sequence[int], embeddings: Array, count: int, seed: int) -> list[int]:
    """The numbers of `count` texts, or of all where there are no more, ascending; the same for the same seed.

    `lengths`: tokens of each text; `embeddings`: FP32 [texts, hidden]. The texts are parted by length into strata of
    equal size, each of which gives its share.
    """
    if count >= len(lengths):
        return list(range(len(lengths)))
    random = np.random.default_rng(seed)
    by_length = np.lexsort((random.random(len(lengths)), np.asarray(lengths)))
    strata = min(_STRATA, count)
    shares = np.diff(np.linspace(0, count, strata + 1).round().astype(int))
    chosen: list[int] = []
    for members, share in zip(np.array_split(by_length, strata), shares, strict=True):
        chosen += members[_spread(embeddings[members], int(share), random)].tolist()
    return sorted(chosen)


def random_samples(total: int, count: int, seed: int) -> list[int]:
    """`count` of the numbers below `total`, or all, ascending: what `select_samples` is measured against."""
    return sorted(np.random.default_rng(seed).permutation(total)[:count].tolist())


def _spread(points: Array, count: int, random: np.random.Generator) -> list[int]:
    """k-center greedy: a random point, then again and again the one farthest from all taken."""
    chosen = [int(random.integers(len(points)))]
    distances = np.full(len(points), np.inf)
    for _ in range(count - 1):
        distances = np.minimum(distances, np.square(points - points[chosen[-1]]).sum(axis=1))
        distances[chosen] = -1
        chosen.append(int(distances.argmax()))
    return chosen


def read_corpus(path: Path) -> list[str]:
    """The texts of a `.txt` file, one a line, or of a `.csv` file's column `text`; empty ones are left out.

    Raises `BuildError` where it cannot be read or holds no text.
    """
    suffix = path.suffix.lower()
    if suffix not in (".txt", ".csv"):
        raise BuildError(f"{path}: is no .txt and no .csv; give one text a line, or CSV with a column text")
    try:
        with path.open(newline="" if suffix == ".csv" else None, encoding="utf-8-sig") as file:
            found = [text.strip() for text in (_column(path, file) if suffix == ".csv" else file)]
    except OSError as error:
        raise BuildError(f"{path}: cannot be read: {error.strerror}; give a .txt or .csv file of texts") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BuildError(f"{path}: is no {suffix} file in UTF-8: {error}; save it as one") from None
    texts = [text for text in found if text]
    if not texts:
        raise BuildError(f"{path}: holds 0 texts; give a few hundred, one a line or in a CSV column text")
    return texts


def _column(path: Path, file: Iterator[str]) -> Iterator[str]:
    rows = csv.DictReader(file)
    if "text" not in (rows.fieldnames or ()):
        found = ", ".join(rows.fieldnames or ()) or "none"
        raise BuildError(f"{path}: wanted a column text, found {found}; name the column of the texts so")
    return (row["text"] or "" for row in rows)


def packed_samples(token_ids: Sequence[Array], width: int, rows: int) -> Samples:
    """Texts, INT64 [tokens] each, in batches of `rows` rows of `width` tokens; the last batch has as many as are left.

    Each text goes, the longest first, to the fullest row that it fits. Raises `BuildError` for a text longer than
    `width`.
    """
    packed = _best_fit([len(ids) for ids in token_ids], width)
    samples = []
    for start in range(0, len(packed), rows):
        group = packed[start : start + rows]
        places = []
        for number, row in enumerate(group):
            ends = np.cumsum([len(token_ids[i]) for i in row])
            places += [
                Placement(number, int(end) - len(token_ids[i]), s)
                for s, (i, end) in enumerate(zip(row, ends, strict=True))
            ]
        layout = Packed(len(group), width, tuple(places))
        samples.append(layout.collate([{"input_ids": token_ids[i]} for row in group for i in row]).inputs)
    return samples


def _best_fit(lengths: Sequence[int], width: int) -> list[list[int]]:
    """The texts of each row."""
    most = segments_of(width)
    rows: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        if length > width:
            raise BuildError(f"a text of {length} tokens does not fit a row of {width}; cut it, or use wider rows")
        fitting = [row for row, room in enumerate(left) if room >= length and len(rows[row]) < most]
        if fitting:
            best = min(fitting, key=left.__getitem__)
            rows[best].append(index)
            left[best] -= length
        else:
            rows.append([index])
            left.append(width - length)
    return rows
