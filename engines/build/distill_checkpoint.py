"""Where teaching stands, in one safetensors file that is there whole or not at all: nothing is pickled."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

FILE = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`step`: steps done. `seconds`: spent on them. `state`: that of `Trainer.state`."""

    step: int
    seconds: float
    state: Mapping[str, Tensor]


def save_checkpoint(folder: Path, origin: str, checkpoint: Checkpoint) -> None:
    """Replaces the one in `folder`. `origin`: a digest of all that decides the student. Raises `OSError`."""
    about = {"origin": origin, "step": str(checkpoint.step), "seconds": repr(checkpoint.seconds)}
    staged = folder / f"{FILE}.new"
    folder.mkdir(exist_ok=True)
    staged.write_bytes(save({name: tensor.contiguous() for name, tensor in checkpoint.state.items()}, about))
    os.replace(staged, folder / FILE)


def load_checkpoint(folder: Path, origin: str) -> Checkpoint | None:
    """The one in `folder`; None where there is none, where it is damaged, or where it is of another `origin`."""
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            about = file.metadata() or {}
            if about.get("origin") != origin:
                return None
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Checkpoint(int(about["step"]), float(about["seconds"]), state)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
