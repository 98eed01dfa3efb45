"""Tiny causal models with random weights, saved as Hugging Face folders."""

import json
from pathlib import Path
from typing import Any

from tests.engines.tiny_language import byte_level

VOCABULARY, WINDOW, END = 290, 96, 1

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": WINDOW,
    "initializer_range": 0.4,
    "bos_token_id": 0,
    "eos_token_id": END,
    "pad_token_id": END,
}
"""Weights so large that no two tokens are nearly alike: a batch rounds otherwise than a row alone."""
SMOLLM2 = {"num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 72, "tie_word_embeddings": True}
"""The shape of SmolLM2-135M: three queries to a key, and one table for tokens in and out."""


def write_model(folder: Path, kind: str = "llama", seed: int = 0, **changes: Any) -> Path:
    """Writes a model into version 1 of `folder`; `changes`: to its configuration."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**_SHAPE, **changes}))
    model.save_pretrained(version)
    byte_level().save(str(version / "tokenizer.json"))
    return version


def rewrite(version: Path, name: str, **changes: object) -> None:
    """Changes values of a JSON file, made where it is not there; None takes one out."""
    path = version / name
    values = json.loads(path.read_text()) if path.exists() else {}
    values.update(changes)
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
