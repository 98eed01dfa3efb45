"""Every generator of this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.base import EngineOptions
from tests.engines.generators.driving import config_text, options
from tests.engines.generators.tiny_llama import write_model


@dataclass(frozen=True)
class Case:
    """`packages`: without which it is skipped. `build` writes the model into a folder.

    `prompts`: tokens that the model knows, and of which it never ends an answer within 8 tokens.
    """

    name: str
    packages: tuple[str, ...]
    build: Callable[[Path], EngineOptions]
    prompts: tuple[tuple[int, ...], ...] = (tuple(range(10, 30)), (7, 40, 9), tuple(range(60, 40, -2)), (100, 101))


def _echo(folder: Path) -> EngineOptions:
    (folder / "1").mkdir(parents=True)
    return options(folder, config_text("echo", generation__window=96))


def _torch_generate(folder: Path) -> EngineOptions:
    write_model(folder)
    return options(folder, config_text("torch_generate", generation__max_sequences=8))


CASES = (
    Case("echo", (), _echo),
    Case("torch_generate", ("torch", "transformers"), _torch_generate),
)
