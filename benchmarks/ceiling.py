"""What an engine does alone, with no gateway around it: the ceiling that the gateway is compared with."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from engines import open_engine
from engines.base import Engine, EngineOptions
from engines.batch import Batch
from engines.cores import available_cores, threads_per_instance
from engines.errors import EngineError
from engines.model_config import Packing
from engines.repository import ModelEntry, scan
from engines.tensor import Array
from engines.text import Tokenizer

BATCH = 32
"""Texts in a batch of the ceiling, one text a row."""

LEAST_SECONDS = 2.0
"""How long one measurement of a ceiling goes on, in whole passes over the texts."""


class Variant:
    """One packed text model opened in this process with all cores."""

    def __init__(self, name: str, engine: Engine, batches: list[Batch], singles: list[Batch]) -> None:
        self.name = name
        self._engine = engine
        self._batches = batches
        self._singles = singles
        for batch in (*batches, *singles):
            engine.run(batch)

    def sorted_per_second(self) -> float:
        """Texts a second, sorted by length, in batches of 32 rows padded to their longest."""
        texts, seconds = 0, 0.0
        while seconds < LEAST_SECONDS:
            seconds += _seconds(self._engine, self._batches)
            texts += sum(batch.size for batch in self._batches)
        return texts / seconds

    def seconds_alone(self) -> float:
        """Mean seconds of one text in the smallest row that holds it."""
        return _seconds(self._engine, self._singles) / len(self._singles)

    def embed(self) -> Array:
        """The embeddings of the texts that `seconds_alone` runs, FP32 [n, hidden]."""
        outputs = [next(iter(self._engine.run(batch).values()))[0, 0] for batch in self._singles]
        return np.stack(outputs)

    def close(self) -> None:
        self._engine.close()


def open_variants(repository: Path, prefix: str, texts: Sequence[str], singles: int) -> Iterator[Variant | str]:
    """Every packed model whose name starts with `prefix`, or the reason why it cannot be measured.

    `singles`: how many of the texts, from the first, are also run one by one.
    """
    for entry in scan(repository):
        if entry.name.startswith(prefix):
            try:
                yield _open(entry, texts, singles)
            except EngineError as error:
                yield f"{entry.name}: {error}"


def _open(entry: ModelEntry, texts: Sequence[str], singles: int) -> Variant:
    config = entry.config
    if config is None or config.text is None or config.packing is None or not entry.versions:
        raise EngineError(entry.error or "not a packed text model")
    tokenizer = Tokenizer.from_file(
        entry.folder / config.text.tokenizer, config.text.max_tokens, truncate=config.text.truncate
    )
    tokens = [np.asarray(ids, np.int64) for ids in tokenizer.encode(list(texts))]
    threads = threads_per_instance(available_cores(), 1)
    engine = open_engine(EngineOptions(config, entry.folder / str(entry.versions[-1]), threads=threads))
    ordered = sorted(tokens, key=len)
    batches = [_one_text_a_row(ordered[i : i + BATCH], 0) for i in range(0, len(ordered) - BATCH + 1, BATCH)]
    alone = [_one_text_a_row([ids], _row_width(config.packing, len(ids))) for ids in tokens[:singles]]
    return Variant(entry.name, engine, batches, alone)


def _row_width(packing: Packing, length: int) -> int:
    return next(width for width in packing.widths if width >= length)


def _one_text_a_row(texts: Sequence[Array], width: int) -> Batch:
    shape = (len(texts), max(width, *(len(ids) for ids in texts), 4))
    inputs = {"input_ids": np.zeros(shape, np.int64), "position_ids": np.zeros(shape, np.int64)}
    inputs["segment_ids"] = np.full(shape, -1, np.int64)
    for row, ids in enumerate(texts):
        inputs["input_ids"][row, : len(ids)] = ids
        inputs["position_ids"][row, : len(ids)] = np.arange(len(ids))
        inputs["segment_ids"][row, : len(ids)] = 0
    return Batch(inputs, len(texts))


def _seconds(engine: Engine, batches: Sequence[Batch]) -> float:
    start = time.perf_counter()
    for batch in batches:
        engine.run(batch)
    return time.perf_counter() - start
