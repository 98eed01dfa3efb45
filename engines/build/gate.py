"""The accuracy gate: a model is compared with the fp32 original before it takes its place in the repository.

The original is the packed fp32 graph on ONNX Runtime.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from engines.build.corpora import Corpus
from engines.build.errors import BuildError
from engines.build.heads import find_head, label
from engines.build.materials import FamilyMaterials
from engines.build.measure import Measured, measure
from engines.build.progress import Show
from engines.errors import MissingBackendError
from engines.repository import ModelEntry, read_config
from engines.tensor import Array

INVARIANT = 1e-5
"""The largest difference of a number of an embedding, alone against in a batch, that is no dependence on the batch."""
_MOST_PAIRED = 200
_REMEDY = "what was there stays; choose another precision or calibrate with texts like yours"
_PACKAGES: Mapping[str, str] = MappingProxyType({"openvino": "openvino", "pytorch": "torch"})


@dataclass(frozen=True, slots=True)
class Quality:
    """How near a model comes to the original. Shares are of 1; None where the family has no head, or there are no
    labels."""

    cosine_mean: float
    cosine_min: float
    rank_correlation: float
    label_agreement: float | None
    accuracy: float | None
    original_accuracy: float | None

    def drop(self) -> tuple[float, str]:
        """What `--max-drop` bounds, in points, and its name."""
        if self.accuracy is not None and self.original_accuracy is not None:
            return 100 * (self.original_accuracy - self.accuracy), "accuracy"
        if self.label_agreement is not None:
            return 100 * (1 - self.label_agreement), "label agreement"
        return 100 * (1 - self.cosine_mean), "mean cosine"


class Gate:
    """Compares the models of `family` on the texts `held_out`. `max_drop`: in points, None for no bound."""

    def __init__(
        self, family: str, materials: FamilyMaterials, held_out: Corpus, repository: Path, max_drop: float | None
    ) -> None:
        self._family = family
        self._materials = materials
        self._held_out = held_out
        self._repository = repository
        self._max_drop = max_drop

    def admit(self, model: Path, show: Show) -> dict[str, Any]:
        """The figures of the model in the folder `model`, for its manifest.

        Raises `BuildError` where it is worse than declared. Where it cannot be run here, the figures say why instead.
        """
        texts = self._held_out
        size = sum(path.stat().st_size for path in (model / "1").rglob("*") if path.is_file())
        about = {"texts": {"source": texts.source, "count": len(texts.texts), "sha256": texts.sha256}, "bytes": size}
        reason = why_not_here(model)
        if reason:
            return {**about, "not_measured": reason}
        try:
            quality, found = self._compare(model, show)
        except MissingBackendError as error:
            return {**about, "not_measured": str(error)}
        self.check(asdict(quality), read_config(model).tolerance)
        return {
            **about,
            **asdict(quality),
            "invariance": found.invariance,
            "batch_dependent": found.invariance > INVARIANT,
            "latency_ms": found.latency_ms,
            "per_second": found.per_second,
            "resident_bytes": found.resident_bytes,
        }

    def quality(self, model: Path, show: Show) -> Quality:
        """How near the model in the folder `model` comes to the original, whatever it has to promise."""
        return self._compare(model, show)[0]

    def _compare(self, model: Path, show: Show) -> tuple[Quality, Measured]:
        texts = self._held_out
        original = self._materials.embeddings(texts.texts, show)
        show("compare with the original", 0, 1)
        found = measure(model, texts.texts)
        head = find_head(self._repository, self._family, original.shape[1])
        show("compare with the original", 1, 1)
        return quality(original, found.embeddings, texts.labels, head), found

    def is_about(self, figures: Mapping[str, Any]) -> bool:
        """Are the `figures` of a manifest of the texts that this gate compares on?"""
        return bool(figures["texts"]["sha256"] == self._held_out.sha256)

    def check(self, figures: Mapping[str, Any], tolerance: float) -> None:
        """Raises `BuildError` where the figures are worse than the tolerance, or than the largest drop allowed."""
        if not figures["cosine_min"] >= tolerance:
            raise BuildError(
                f"its least cosine to the fp32 original is {figures['cosine_min']:.6g}, its batchyard.tolerance"
                f" {tolerance:.7g}; {_REMEDY}"
            )
        drop, of_what = Quality(**{name: figures[name] for name in Quality.__slots__}).drop()
        if self._max_drop is not None and not drop <= self._max_drop:
            raise BuildError(
                f"it loses {drop:.2f} points of {of_what} against the fp32 original, --max-drop allows"
                f" {self._max_drop:g}; {_REMEDY}"
            )


def quality(original: Array, found: Array, labels: Sequence[str], head: ModelEntry | None) -> Quality:
    """Compares embeddings FP32 [texts, hidden]. `labels`: of the texts, () where they have none."""
    cosines = cosine(original, found)
    agreement = accuracy = original_accuracy = None
    if head is not None:
        wanted, got = np.array(label(head, original)), np.array(label(head, found))
        agreement = float((wanted == got).mean())
        if labels:
            truth = np.array(labels)
            accuracy, original_accuracy = float((got == truth).mean()), float((wanted == truth).mean())
    return Quality(
        float(cosines.mean()),
        float(cosines.min()),
        rank_correlation(original[:_MOST_PAIRED], found[:_MOST_PAIRED]),
        agreement,
        accuracy,
        original_accuracy,
    )


def cosine(first: Array, second: Array) -> Array:
    """Between the rows of two arrays, FP32 [n]; NaN where a row is no vector, and so below every tolerance."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((first * second).sum(axis=1) / norms)


def rank_correlation(first: Array, second: Array) -> float:
    """Spearman's, of the similarities of all pairs of rows: do the two order them alike? 1 where there is one pair."""
    pairs = np.triu_indices(len(first), 1)
    if len(pairs[0]) < 2:
        return 1.0
    ranks = [np.argsort(np.argsort(_similarities(rows)[pairs])) for rows in (first, second)]
    return float(np.asarray(np.corrcoef(np.stack(ranks)))[0, 1])


def _similarities(rows: Array) -> Array:
    scaled = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(scaled @ scaled.T)


def why_not_here(model: Path) -> str:
    """Why the model in the folder `model` cannot be run on this machine, "" where it may be tried."""
    config = read_config(model)
    wants_gpu = any(group.kind == "KIND_GPU" for group in config.instance_groups)
    if wants_gpu and shutil.which("nvidia-smi") is None and not Path("/dev/nvidia0").exists():
        return "no CUDA device"
    package = _PACKAGES.get(config.backend)
    if package and find_spec(package) is None:
        return f"the {package} package is not installed"
    return ""
