"""Triton's ModelSequenceBatching, typed: models that remember from one request of a sequence to the next."""

from dataclasses import dataclass
from typing import Literal

from engines.tensor import DataType

ControlKind = Literal[
    "CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_CORRID"
]
DEFAULT_IDLE = 1_000_000
"""Microseconds, as in Triton."""


@dataclass(frozen=True, slots=True)
class Control:
    """An input of shape [1] that the batcher makes. `false`, `true`: what it holds; a correlation id has neither."""

    name: str
    kind: ControlKind
    datatype: DataType
    false: float = 0.0
    true: float = 1.0


@dataclass(frozen=True, slots=True)
class State:
    """Implicit state: what a request answers as `output_name` is the `input_name` of the next one of its sequence.

    `shape` leaves out the batch dimension; -1 is any size. `initial`: the raw bytes that a sequence begins with, of
    `initial_shape`; b"" begins with zeros, empty strings where it is of strings.
    """

    input_name: str
    output_name: str
    datatype: DataType
    shape: tuple[int, ...]
    initial_shape: tuple[int, ...]
    initial: bytes = b""


@dataclass(frozen=True, slots=True)
class Direct:
    """A sequence keeps its row of the batch for its whole life.

    A batch waits up to `max_queue_delay_microseconds` until this share of the rows, from 0 to 1, is ready.
    """

    max_queue_delay_microseconds: int = 0
    minimum_slot_utilization: float = 0.0


@dataclass(frozen=True, slots=True)
class Oldest:
    """Up to `max_candidate_sequences` go on at once in an instance, 0 is one a row; batches are made of those ready."""

    max_candidate_sequences: int = 0
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = 0
    preserve_ordering: bool = False


@dataclass(frozen=True, slots=True)
class SequenceBatching:
    """`max_idle_microseconds`: a sequence of which nothing is heard for so long is ended."""

    strategy: Direct | Oldest
    max_idle_microseconds: int = DEFAULT_IDLE
    controls: tuple[Control, ...] = ()
    states: tuple[State, ...] = ()

    def slots(self, max_batch_size: int) -> int:
        """Sequences that one instance has at once."""
        if isinstance(self.strategy, Oldest) and self.strategy.max_candidate_sequences:
            return self.strategy.max_candidate_sequences
        return max(1, max_batch_size)
