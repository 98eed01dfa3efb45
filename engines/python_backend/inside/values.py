"""Small values that a Python model hands over or is handed."""

from enum import IntEnum
from operator import index

from engines.python_backend.inside.errors import TritonModelException


def whole(value: object, what: str, least: int = 0) -> int:
    """A whole number that a model gives, below 2^64; raises `TypeError` for anything else."""
    if not hasattr(value, "__index__") or not least <= index(value) < 2**64:
        raise TypeError(f"{what} must be a whole number from {least} to 2^64 - 1, found {value!r}")
    return int(index(value))


class MemoryType(IntEnum):
    """Where tensors lie."""

    TRITONSERVER_MEMORY_GPU = 0
    TRITONSERVER_MEMORY_CPU = 1


class PreferredMemory:
    """Where a model wants the answers to its questions; only the CPU is offered."""

    def __init__(self, preferred_memory_type: MemoryType, preferred_device_id: int = 0) -> None:
        if preferred_memory_type != MemoryType.TRITONSERVER_MEMORY_CPU:
            raise TritonModelException(
                "PreferredMemory: tensors in GPU memory are not offered here; use TRITONSERVER_MEMORY_CPU"
            )


class InferenceTrace:
    """The trace that a request belongs to; none is handed to the model."""

    def get_context(self) -> str | None:
        """The OpenTelemetry context, None without one."""
        return None
