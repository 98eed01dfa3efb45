"""The texts of a build: those to calibrate with, and those to compare models on, which are others."""

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.build.errors import BuildError
from engines.build.manifest import digest_of
from engines.build.texts import made_up_texts

HELD_OUT = 150
MOST_HELD_OUT = 2000
MOST_TO_CALIBRATE = 3000
"""Texts of a corpus that samples are chosen from: each is embedded first."""
MADE_UP = "made up"
_MADE_UP_TO_CALIBRATE = 1000
_CALIBRATION_SEED, _HELD_OUT_SEED = 11, 12


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts, and for each the label it should get, or no labels at all. `source`: a file's name, or `MADE_UP`."""

    source: str
    texts: Sequence[str]
    labels: Sequence[str] = ()

    @property
    def sha256(self) -> str:
        return digest_of(*self.texts, *self.labels)

    def described(self) -> dict[str, str]:
        """What of it decides an artefact."""
        return {"calibration": self.source, "calibration_sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Corpora:
    """`calibration` and `held_out` share no text."""

    calibration: Corpus
    held_out: Corpus

    @property
    def origin(self) -> Mapping[str, str]:
        return self.calibration.described()


def read_corpora(calibration: Path | None, check: Path | None) -> Corpora:
    """Texts of the files; without `check` some of the calibration file's are held out; without files, made-up ones.

    Raises `BuildError`.
    """
    if calibration is None:
        known = Corpus(MADE_UP, made_up_texts(_MADE_UP_TO_CALIBRATE, _CALIBRATION_SEED))
        held_out = read_check(check) if check else Corpus(MADE_UP, made_up_texts(HELD_OUT, _HELD_OUT_SEED))
        return Corpora(known, held_out)
    from engines.build.calibration import read_corpus

    texts = list(dict.fromkeys(read_corpus(calibration)))
    random.Random(_CALIBRATION_SEED).shuffle(texts)  # noqa: S311
    if check:
        held_out = read_check(check)
        known_texts = set(held_out.texts)
        texts = [text for text in texts if text not in known_texts]
    else:
        cut = min(HELD_OUT, len(texts) // 4)
        held_out, texts = Corpus(calibration.name, texts[:cut]), texts[cut:]
    if not texts or not held_out.texts:
        raise BuildError(f"{calibration}: has too few texts beside those to check with; give a few hundred")
    return Corpora(Corpus(calibration.name, texts[:MOST_TO_CALIBRATE]), held_out)


def read_check(path: Path) -> Corpus:
    """Texts to compare on, with labels where the file is CSV and has a column `category`; raises `BuildError`."""
    from engines.build.calibration import read_corpus
    from engines.build.fit_head import read_examples

    texts = read_corpus(path)
    if not _has_labels(path):
        return Corpus(path.name, texts[:MOST_HELD_OUT])
    known = read_examples(path)
    return Corpus(path.name, known.texts[:MOST_HELD_OUT], known.labels[:MOST_HELD_OUT])


def _has_labels(path: Path) -> bool:
    if path.suffix.lower() != ".csv":
        return False
    with path.open(newline="", encoding="utf-8-sig") as file:
        return "category" in next(csv.reader(file), [])
