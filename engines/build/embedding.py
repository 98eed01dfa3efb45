"""Embeddings of many texts through a packed model of a repository, offline."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from engines import open_engine
from engines.base import Engine, EngineOptions
from engines.batch import Packed, Placement
from engines.build.errors import BuildError
from engines.build.progress import Show
from engines.cores import available_cores, threads_per_instance
from engines.model_config import Packing
from engines.repository import read_config
from engines.tensor import Array
from engines.text import Tokenizer

VERSION = "1"
_OUTPUT = "embedding"


def embed(texts: Sequence[str], model: Path, show: Show) -> Array:
    """FP32 [texts, hidden] by the model in the folder `model` (such as model_repository/minilm_onnx).

    Texts are cut at its window. Raises `EngineError` where the model is not a packed text model or cannot be opened.
    """
    config = read_config(model)
    if config.text is None or config.packing is None:
        raise BuildError(f"{model}: is no packed text model; give one that batchyard build made")
    tokenizer = Tokenizer.from_file(model / config.text.tokenizer, config.text.max_tokens, truncate=True)
    tokens = tokenizer.encode(texts)
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    engine = open_engine(EngineOptions(config, model / VERSION, threads=threads_per_instance(available_cores(), 1)))
    try:
        found = _run(engine, config.packing, tokens, order, show)
    finally:
        engine.close()
    return found[np.argsort(order)]


def _run(engine: Engine, packing: Packing, tokens: Sequence[Array], order: Sequence[int], show: Show) -> Array:
    """The embeddings in `order`."""
    found: list[Array] = []
    for width, group in _groups(tokens, order, packing):
        show("embed", len(found), len(tokens))
        layout = Packed(len(group), width, tuple(Placement(row, 0, 0) for row in range(len(group))))
        batch = layout.collate([{"input_ids": tokens[i]} for i in group])
        found += [part[_OUTPUT][0] for part in layout.split(engine.run(batch))]
    return np.stack(found)


def _groups(tokens: Sequence[Array], order: Sequence[int], packing: Packing) -> Iterator[tuple[int, Sequence[int]]]:
    """The texts `order`, shortest first, cut into batches of rows of one width, one text a row."""

    def width_of(index: int) -> int:
        return next(width for width in packing.widths if width >= len(tokens[index]))

    for width, same in groupby(order, width_of):
        alike = list(same)
        most = packing.row_counts(width)[-1]
        for start in range(0, len(alike), most):
            yield width, alike[start : start + most]
