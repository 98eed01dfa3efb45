"""The contracts an engine keeps. The service knows engines only by these."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engines.batch import Batch
from engines.calls import Ask, CallEngine, ask_nobody
from engines.model_config import ModelConfig
from engines.tensor import Signature, Tensors

Outputs = Tensors


class Engine(Protocol):
    """Runs one model on one device: tensors in, tensors out; blocking; owned by one thread."""

    signature: Signature
    """The tensors of the model file itself: for a packed model, rows of tokens."""

    def warm_up(self) -> None:
        """Runs every shape bucket once, so that no caller pays for compiling it."""

    def run(self, batch: Batch) -> Outputs:
        """Runs a batch. Every output has the batch's leading dimension. Raises `EngineError` only."""

    def close(self) -> None:
        """Frees the device; may be called twice."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is opened with. `folder` is the version's folder (it holds the model file).

    `device`: the vendor's own device name ("" lets the engine choose). `threads`: CPU threads this instance may use.
    `lone_threads`: those it may use for its smallest batches while it is `alone`: nothing else computes on the cores.
    `ask`: how a model asks other models. `instance`: its name, "" is that of the only one: `<model>_0_0`.
    """

    config: ModelConfig
    folder: Path
    device: str = ""
    threads: int = 1
    lone_threads: int = 1
    alone: Callable[[], bool] = lambda: True
    ask: Ask = ask_nobody
    instance: str = ""


AnyEngine = Engine | CallEngine
"""An engine, however it takes requests: a batch of them as one, or one by one."""

Creator = Callable[[EngineOptions], Engine]
"""Opens an engine; imports its SDK inside; raises `ModelLoadError` or `MissingBackendError`."""
