"""What a built model answers and costs, measured in a process of its own."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from engines import open_engine
from engines.base import Engine, EngineOptions
from engines.batch import Packed, Placement
from engines.build.errors import BuildError
from engines.cores import available_cores, threads_per_instance
from engines.errors import EngineError
from engines.model_config import ModelConfig, Packing
from engines.repository import read_config
from engines.tensor import Array
from engines.text import Tokenizer

VERSION = "1"
BATCH = 32
ALONE = 20
"""Texts that are also run one by one."""
NEIGHBOURHOODS = 5
_PACKED_WIDTH = 64
_LEAST_SECONDS = 0.3
_SEED = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """`embeddings`: FP32 [texts, hidden], from packed batches of `BATCH` in random order.

    `invariance`: the largest difference of a number of an embedding between a text alone and in random neighbourhoods.
    `latency_ms`: the median of one text alone. `resident_bytes`: what the process grew by, its SDK included.
    """

    embeddings: Array
    invariance: float
    latency_ms: float
    per_second: float
    resident_bytes: int


def measure(model: Path, texts: Sequence[str]) -> Measured:
    """Measures the model in the folder `model` on all cores. Raises `EngineError`, also where the engine crashes."""
    context = get_context("forkserver")  # neither this process's SDKs nor its threads, and quick to start again
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_measure, model, texts).result()
        except BrokenProcessPool:
            raise BuildError(f"model {read_config(model).name!r}: its engine ended the process that tried it") from None


def _measure(model: Path, texts: Sequence[str]) -> Measured:
    config = read_config(model)
    if config.text is None or config.packing is None:
        raise BuildError(f"{model}: is no packed text model")
    tokenizer = Tokenizer.from_file(model / config.text.tokenizer, config.text.max_tokens, truncate=True)
    tokens = tokenizer.encode(texts)
    before = _resident_bytes()
    threads = threads_per_instance(available_cores(), 1)
    engine = _open(EngineOptions(config, model / VERSION, threads=threads, lone_threads=threads))
    trial = _Trial(engine, config.packing, _output(config), tokens)
    embeddings = trial.embeddings()
    resident = _resident_bytes() - before
    alone, latency = trial.alone()
    measured = Measured(embeddings, trial.invariance(alone), latency * 1000, trial.per_second(), resident)
    engine.close()
    return measured


def _open(options: EngineOptions) -> Engine:
    try:
        return open_engine(options)
    except EngineError as error:
        raise type(error)(str(error)) from None  # a cause that a vendor defined may not travel between processes


def _output(config: ModelConfig) -> str:
    return config.outputs[0].name


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Trial:
    """Runs `tokens`, one array a text, through `engine` in several ways."""

    def __init__(self, engine: Engine, packing: Packing, output: str, tokens: Sequence[Array]) -> None:
        self._engine = engine
        self._packing = packing
        self._output = output
        self._tokens = tokens
        self._random = np.random.default_rng(_SEED)
        order = self._random.permutation(len(tokens))
        self._batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]

    def embeddings(self) -> Array:
        found: dict[int, Array] = {}
        for batch in self._batches:
            found.update(zip(batch.tolist(), self._run(batch, _PACKED_WIDTH), strict=True))
        return np.stack([found[i] for i in range(len(self._tokens))])

    def alone(self) -> tuple[Array, float]:
        """The embeddings of the first `ALONE` texts, one a batch, and the median seconds of one, its shape warmed."""
        seconds, found = [], []
        for index in range(min(ALONE, len(self._tokens))):
            texts = np.array([index])
            self._run(texts, 0)
            start = time.perf_counter()
            found.append(self._run(texts, 0)[0])
            seconds.append(time.perf_counter() - start)
        return np.stack(found), median(seconds)

    def invariance(self, alone: Array) -> float:
        """Against `alone`, each text in `NEIGHBOURHOODS` batches of random texts, order and row width."""
        worst = 0.0
        for _ in range(NEIGHBOURHOODS):
            order = self._random.permutation(len(alone))
            width = int(self._random.choice(self._packing.widths))
            found = np.stack(self._run(order, width))
            worst = max(worst, float(np.abs(found - alone[order]).max()))
        return worst

    def per_second(self) -> float:
        """Texts a second in packed batches of `BATCH` in random order, their shapes warmed."""
        done, start = 0, time.perf_counter()
        for batch in self._rounds():
            self._run(batch, _PACKED_WIDTH)
            done += len(batch)
            if time.perf_counter() - start > _LEAST_SECONDS:
                break
        return done / (time.perf_counter() - start)

    def _rounds(self) -> Iterator[Array]:
        while True:
            yield from self._batches

    def _run(self, texts: Array, least_width: int) -> list[Array]:
        """The embeddings of these texts, packed into rows of `least_width` tokens, or wider where one needs it."""
        tokens = [self._tokens[i] for i in texts]
        layout = first_fit([len(ids) for ids in tokens], self._packing, least_width)
        batch = layout.collate([{"input_ids": ids} for ids in tokens])
        return [part[self._output][0] for part in layout.split(self._engine.run(batch))]


def first_fit(lengths: Sequence[int], packing: Packing, least_width: int) -> Packed:
    """Each text in the first row with room for it, in the order given; rows are added up to a count that is served."""
    width = next(w for w in packing.widths if w >= max(*lengths, min(least_width, packing.widths[-1])))
    most = packing.segments(width)
    filled: list[int] = []
    held: list[int] = []
    places = []
    for length in lengths:
        row = next((r for r, used in enumerate(filled) if used + length <= width and held[r] < most), len(filled))
        if row == len(filled):
            filled.append(0)
            held.append(0)
        places.append(Placement(row, filled[row], held[row]))
        filled[row] += length
        held[row] += 1
    rows = next((count for count in packing.row_counts(width) if count >= len(filled)), len(filled))
    return Packed(rows, width, tuple(places))
