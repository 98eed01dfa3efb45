"""A tiny random BERT as a Hugging Face folder: real files, made in milliseconds, without torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from engines.build import flow
from engines.build.errors import BuildError
from engines.build.request import Request

HIDDEN, LAYERS, HEADS, INNER, WINDOW = 16, 2, 2, 24, 48
WORDS = ("card", "lost", "my", "where", "is", "top", "up", "fee", "pin", "new", "?", "##s", "##ed", "a", "i")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = (*_SPECIAL, *WORDS)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of an encoder, and its words."""

    hidden: int = HIDDEN
    layers: int = LAYERS
    heads: int = HEADS
    inner: int = INNER
    window: int = WINDOW
    words: tuple[str, ...] = WORDS

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return (*_SPECIAL, *self.words)


TINY = Shape()


def write_encoder(folder: Path, seed: int = 0, shape: Shape = TINY) -> Path:
    """Writes config.json, model.safetensors and tokenizer.json into the new folder `folder`."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "bert",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "hidden_act": "gelu",
        "max_position_embeddings": shape.window,
        "vocab_size": len(shape.vocabulary),
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(_weights(np.random.default_rng(seed), shape), folder / "model.safetensors")
    _tokenizer(shape.vocabulary).save(str(folder / "tokenizer.json"))
    return folder


def build(source: Path, repository: Path, *engines: str, **options: Any) -> str:
    """Builds "tiny", or the `names` among `options`, and returns what was shown."""
    shown = StringIO()
    request = Request(**{"names": ("tiny",), "source": source, "engines": engines, **options})
    flow.build(request, repository, Console(file=shown, width=200))
    return shown.getvalue()


def failure(source: Path, repository: Path, *engines: str, **options: Any) -> str:
    """The error, one line, of a build that fails."""
    with pytest.raises(BuildError) as raised:
        build(source, repository, *engines, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


def _weights(random: np.random.Generator, shape: Shape) -> dict[str, np.ndarray]:
    hidden, inner = shape.hidden, shape.inner
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(shape.vocabulary), hidden),
        "embeddings.position_embeddings.weight": (shape.window, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}."
        for name, out, into in (
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ):
            shapes[f"{prefix}{name}.weight"] = (out, into)
            shapes[f"{prefix}{name}.bias"] = (out,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{prefix}{name}.weight"] = shapes[f"{prefix}{name}.bias"] = (hidden,)
    # Words count most, so that texts differ.
    return {
        name: random.normal("LayerNorm.weight" in name, 1.0 if "word" in name else 0.2, size).astype(np.float32)
        for name, size in shapes.items()
    }


def _tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
