"""How a student is taught. The command's flags are made from these fields."""

from dataclasses import dataclass, field
from typing import Any

from engines.build.errors import BuildError


def _about(default: Any, text: str, least: float = 0) -> Any:
    return field(default=default, metadata={"help": text, "least": least})


@dataclass(frozen=True)
class Recipe:
    """Raises `BuildError` for values that cannot be. Products are computed in `precision`, weights and sums in FP32."""

    layers: int = field(metadata={"help": "of the student", "least": 1})
    epochs: int = _about(3, "passes over the texts and their variations", 1)
    copies: int = _about(0, "variations of each text: words left out or replaced, two texts joined")
    batch: int = _about(64, "texts a step", 1)
    rate: float = _about(5e-4, "highest learning rate")
    decay: float = _about(0.01, "weight decay")
    hidden: float = _about(0.0, "weight of the hidden states' loss beside the embeddings', which weighs 1")
    precision: str = _about("bf16", "of the products: bf16 or fp32")
    seed: int = _about(0, "of the order and the variations")

    def __post_init__(self) -> None:
        for name, spec in self.__dataclass_fields__.items():
            value, least = getattr(self, name), spec.metadata["least"]
            if not isinstance(value, str) and not value >= least:
                raise BuildError(f"--{name} {value:g}: use {least:g} or more")
        if self.precision not in ("bf16", "fp32"):
            raise BuildError(f"--precision {self.precision!r}: use bf16 or fp32")
