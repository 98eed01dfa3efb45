"""What every packed encoder is held to: the BERT encoder written out in plain numpy, one text at a time, FP64."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from engines.tensor import Array, Tensors

HIDDEN = 32
VOCABULARY = 100
WINDOW = 64
_SHAPE = {
    "model_type": "bert",
    "hidden_size": HIDDEN,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": WINDOW,
    "type_vocab_size": 2,
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
}


def write_encoder(folder: Path) -> None:
    """A small encoder with random weights, as Hugging Face lays one out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_SHAPE))
    save_file(_random_weights(np.random.default_rng(7)), folder / "model.safetensors")


def _random_weights(random: np.random.Generator) -> dict[str, Array]:
    tensors: dict[str, Array] = {}

    def dense(name: str, size: int, inputs: int) -> None:
        tensors[f"{name}.weight"] = random.normal(0, inputs**-0.5, (size, inputs)).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.1, size).astype(np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = random.normal(1, 0.1, HIDDEN).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.1, HIDDEN).astype(np.float32)

    for table, size in (("word", VOCABULARY), ("position", WINDOW), ("token_type", 2)):
        name = f"embeddings.{table}_embeddings.weight"
        tensors[name] = random.normal(0, 1, (size, HIDDEN)).astype(np.float32)
    norm("embeddings.LayerNorm")
    for number in range(2):
        layer = f"encoder.layer.{number}."
        for part in ("query", "key", "value"):
            dense(f"{layer}attention.self.{part}", HIDDEN, HIDDEN)
        dense(f"{layer}attention.output.dense", HIDDEN, HIDDEN)
        norm(f"{layer}attention.output.LayerNorm")
        dense(f"{layer}intermediate.dense", 64, HIDDEN)
        dense(f"{layer}output.dense", HIDDEN, 64)
        norm(f"{layer}output.LayerNorm")
    return tensors


@dataclass(frozen=True)
class Reference:
    """The encoder in a folder; `embed` takes INT64 [tokens] and gives FP64 [hidden], of length 1."""

    weights: Mapping[str, Array]
    config: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Reference":
        weights = {name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()}
        return cls(weights, json.loads((folder / "config.json").read_text()))

    def embed(self, request: Tensors) -> dict[str, Array]:
        ids = request["input_ids"]
        table = {
            part: self.weights[f"embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")
        }
        hidden = table["word"][ids] + table["position"][: len(ids)] + table["token_type"][0]
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        for number in range(self.config["num_hidden_layers"]):
            hidden = self._layer(hidden, f"encoder.layer.{number}.")
        mean = hidden.mean(axis=0)
        return {"embedding": (mean / np.linalg.norm(mean))[None]}

    def _layer(self, hidden: Array, layer: str) -> Array:
        heads = self.config["num_attention_heads"]
        size = hidden.shape[1] // heads
        query, key, value = (self._dense(hidden, f"{layer}attention.self.{part}") for part in ("query", "key", "value"))
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = np.exp(query[:, own] @ key[:, own].T / math.sqrt(size))
            parts.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, own])
        attended = self._dense(np.concatenate(parts, axis=1), f"{layer}attention.output.dense")
        hidden = self._norm(attended + hidden, f"{layer}attention.output.LayerNorm")
        raised = _gelu(self._dense(hidden, f"{layer}intermediate.dense"))
        return self._norm(self._dense(raised, f"{layer}output.dense") + hidden, f"{layer}output.LayerNorm")

    def _dense(self, values: Array, name: str) -> Array:
        return values @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, values: Array, name: str) -> Array:
        centred = values - values.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.config["layer_norm_eps"])
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def _gelu(values: Array) -> Array:
    return values * 0.5 * (1 + np.vectorize(math.erf)(values / math.sqrt(2)))
