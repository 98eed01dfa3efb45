"""The classifier head of a family, where its repository has one: what counts in the end are the labels."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from engines import open_engine
from engines.base import EngineOptions
from engines.batch import Batch
from engines.errors import ModelLoadError
from engines.model_config import EnsembleStep
from engines.repository import ModelEntry, scan
from engines.tensor import Array

_LABEL = "label"


def find_head(repository: Path, family: str, hidden: int) -> ModelEntry | None:
    """The linear model that an ensemble of the repository runs on the embeddings of `family` or of one of its models.

    `hidden`: the numbers of an embedding. None where there is no such head with labels and a version to open.
    """
    try:
        entries = {entry.name: entry for entry in scan(repository)}
    except ModelLoadError:
        return None
    for entry in entries.values():
        for name in _fed_by(entry.config.ensemble if entry.config else (), family):
            head = entries.get(name)
            if head and head.config and head.versions and head.config.backend == "linear":
                outputs = {spec.name for spec in head.config.outputs}
                if _LABEL in outputs and head.config.inputs[0].shape == (hidden,):
                    return head
    return None


def _fed_by(steps: Sequence[EnsembleStep], family: str) -> Iterator[str]:
    """The models of an ensemble that take the embedding of `family`."""
    for step in steps:
        if step.model_name == family or step.model_name.startswith(f"{family}_"):
            embedding = step.output_map.get("embedding")
            yield from (other.model_name for other in steps if embedding in other.input_map.values())


def label(head: ModelEntry, embeddings: Array) -> list[str]:
    """The label of each embedding, FP32 [texts, hidden]."""
    config = head.config
    if config is None:
        raise ModelLoadError(head.error)
    engine = open_engine(EngineOptions(config, head.folder / str(head.versions[-1])))
    labels: list[bytes] = []
    for start in range(0, len(embeddings), config.max_batch_size):
        rows = embeddings[start : start + config.max_batch_size]
        labels += np.ravel(engine.run(Batch({config.inputs[0].name: rows}, len(rows)))[_LABEL]).tolist()
    engine.close()
    return [found.decode() for found in labels]
