"""Writes a student as a Hugging Face encoder folder: its teacher's files, with fewer layers."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from engines.build.encoder_folder import WEIGHTS, EncoderFolder, read_json
from engines.encoder_source import EncoderSource
from engines.tensor import Array

_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")


def write_student(
    teacher: EncoderFolder, source: EncoderSource, weights: Mapping[str, Array], layers: int, target: Path
) -> None:
    """Fills the empty folder `target`. `weights`: what was taught, FP32, by the names of a `PackedEncoder`.

    The tables of words and positions are the teacher's. Raises `BuildError`, `OSError`.
    """
    for path in teacher.files:
        if path.name == WEIGHTS:
            continue
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(teacher.root / path, target / path)
    home = target / teacher.transformer.relative_to(teacher.root)
    config = {**read_json(teacher.transformer / "config.json"), source.family.layers: layers}
    (home / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    named = dict(_tables(source))
    for name, weight in weights.items():
        named |= _named(name, weight, source)
    arrays = {name: np.ascontiguousarray(weight) for name, weight in named.items()}
    (home / WEIGHTS).write_bytes(save(arrays, {"format": "pt"}))


def _tables(source: EncoderSource) -> Iterator[tuple[str, Array]]:
    for table in _TABLES[: 3 if source.family.token_types else 2]:
        yield f"embeddings.{table}.weight", source.weights.get(f"embeddings.{table}.weight")


def _named(name: str, weight: Array, source: EncoderSource) -> dict[str, Array]:
    """A weight of a `PackedEncoder` under the name, or names, that the teacher's family gives it."""
    family = source.family
    path, _, kind = name.rpartition(".")
    if path == "norm":
        return {f"embeddings.LayerNorm.{kind}": weight}
    _, number, part = path.split(".")
    prefix = f"{family.layer}{number}."
    if part == "query_key_value":
        parts = (family.query, family.key, family.value)
        return {f"{prefix}{one}.{kind}": third for one, third in zip(parts, np.split(weight, 3), strict=True)}
    return {f"{prefix}{getattr(family, part)}.{kind}": weight}
