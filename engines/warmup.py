"""The batches a model is run with before it is ready, so that no caller pays for a first run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engines.batch import Batch, Packed, Placement, Ragged
from engines.errors import InvalidInputError, ModelLoadError
from engines.model_config import ModelConfig, Packing, WarmupInput, WarmupSample
from engines.tensor import BYTES, Array, TensorSpec, decode_raw

_TEXT_TOKENS = 16
"""Tokens of a text where the configuration leaves the length open: about what a short message has."""


def warmup_batches(config: ModelConfig) -> Iterator[Batch]:
    """The batches to warm `config`'s model with.

    Packed models: every row width and row count they are served in, full of short texts. Else the samples of
    `model_warmup`. Else one row of zeros where all sizes are known; the length of a padded input counts as known.
    Raises `ModelLoadError` for a sample's file that does not fit its input.
    """
    if config.packing is not None:
        yield from _packed(config, config.packing)
    elif config.warmup:
        for sample in config.warmup:
            batch = _sampled(config, sample)
            for _ in range(sample.count):
                yield batch
    else:
        yield from _zeros(config)


def _packed(config: ModelConfig, packing: Packing) -> Iterator[Batch]:
    dtype = next(spec.datatype.numpy for spec in config.inputs if spec.name == "input_ids")
    for width in packing.widths:
        length = min(width, _TEXT_TOKENS)
        text = {"input_ids": np.zeros(length, dtype)}
        starts = range(0, width - length + 1, length)
        for rows in packing.row_counts(width):
            places = tuple(Placement(row, start, i) for row in range(rows) for i, start in enumerate(starts))
            yield Packed(rows, width, places).collate([text] * len(places))


def _sampled(config: ModelConfig, sample: WarmupSample) -> Batch:
    return _rows(config, {given.spec.name: _filled(given) for given in sample.inputs}, sample.batch_size)


def _rows(config: ModelConfig, row: dict[str, Array], size: int) -> Batch:
    """A batch of `size` requests that all are `row`, an input without its batch dimension; 0: there is none."""
    if not size:
        return Batch(row, 1)
    ragged = frozenset(spec.name for spec in config.inputs if spec.ragged)
    if not ragged and not config.batch_inputs:
        return Batch({name: np.stack([array] * size) for name, array in row.items()}, size)
    request = {name: array[np.newaxis] for name, array in row.items()}
    return Ragged((1,) * size, ragged, config.batch_inputs).collate([request] * size)


def _filled(given: WarmupInput) -> Array:
    """One row of the input, without a batch dimension."""
    spec = given.spec
    match given.source:
        case "zero":
            return _blank(spec, spec.shape)
        case "random":
            return _random(spec)
        case "file":
            return _read(Path(given.file), spec)


def _blank(spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    return np.full(shape, b"", object) if spec.datatype is BYTES else np.zeros(shape, spec.datatype.numpy)


def _random(spec: TensorSpec) -> Array:
    draw = np.random.default_rng(0)
    dtype = spec.datatype.numpy
    if spec.datatype is BYTES:
        letters = draw.integers(ord("a"), ord("z") + 1, (*spec.shape, 8), np.uint8)
        return np.apply_along_axis(lambda word: np.array([word.tobytes()], object), -1, letters).reshape(spec.shape)
    if dtype.kind == "f":
        return draw.random(spec.shape).astype(dtype)
    if dtype.kind == "b":
        return draw.integers(0, 2, spec.shape).astype(dtype)
    limits = np.iinfo(dtype)
    return draw.integers(limits.min, limits.max, spec.shape, dtype, endpoint=True)


def _read(path: Path, spec: TensorSpec) -> Array:
    try:
        return decode_raw(path.read_bytes(), spec.datatype, spec.shape)
    except OSError as error:
        raise ModelLoadError(f"warm-up file {path.name!r} cannot be read: {error.strerror}") from None
    except InvalidInputError as error:
        raise ModelLoadError(f"warm-up file {path.name!r} of input {spec.name!r}: {error}") from None


def _zeros(config: ModelConfig) -> Iterator[Batch]:
    inputs: dict[str, Array] = {}
    for spec in config.inputs:
        if spec.optional:
            continue
        length = _TEXT_TOKENS if spec.name in config.padding else -1
        shape = tuple(length if size == -1 else size for size in spec.shape)
        if -1 in shape or spec.ragged:
            return
        inputs[spec.name] = _zero(spec, shape)
    yield _rows(config, inputs, 1 if config.max_batch_size else 0)


def _zero(spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """A string is "0", which models that read numbers from strings take, too."""
    return np.full(shape, b"0", object) if spec.datatype is BYTES else np.zeros(shape, spec.datatype.numpy)
