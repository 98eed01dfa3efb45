"""A tiny random BERT as a Hugging Face folder: real files, made in milliseconds, without torch."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from engines.build.errors import BuildError
from engines.build.flow import build_encoder

HIDDEN, LAYERS, HEADS, INNER, WINDOW = 16, 2, 2, 24, 48
WORDS = ("card", "lost", "my", "where", "is", "top", "up", "fee", "pin", "new", "?", "##s", "##ed", "a", "i")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)


def write_encoder(folder: Path, seed: int = 0) -> Path:
    """Writes config.json, model.safetensors and tokenizer.json into the new folder `folder`."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "bert",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "max_position_embeddings": WINDOW,
        "vocab_size": len(VOCABULARY),
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(_weights(np.random.default_rng(seed)), folder / "model.safetensors")
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def build(source: Path, repository: Path, *engines: str) -> str:
    """Builds "tiny" and returns what was shown."""
    shown = StringIO()
    build_encoder(source, "tiny", engines, repository, Console(file=shown, width=200))
    return shown.getvalue()


def failure(source: Path, repository: Path, *engines: str) -> str:
    """The error, one line, of a build that fails."""
    with pytest.raises(BuildError) as raised:
        build(source, repository, *engines)
    message = str(raised.value)
    assert "\n" not in message
    return message


def _weights(random: np.random.Generator) -> dict[str, np.ndarray]:
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": (WINDOW, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        for name, out, into in (
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ):
            shapes[f"{prefix}{name}.weight"] = (out, into)
            shapes[f"{prefix}{name}.bias"] = (out,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{prefix}{name}.weight"] = shapes[f"{prefix}{name}.bias"] = (HIDDEN,)
    # Words count most, so that texts differ.
    return {
        name: random.normal("LayerNorm.weight" in name, 1.0 if "word" in name else 0.2, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
