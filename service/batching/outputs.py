"""Is what an engine answered what its signature says?"""

from dataclasses import dataclass

import numpy as np

from engines.errors import InvalidOutputError
from engines.tensor import Signature, Tensors


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """`finite`: NaN and infinities are no answer."""

    signature: Signature
    finite: bool = False

    def batch(self, outputs: Tensors) -> None:
        """Checks names, datatypes and dimensions of what a batch gave; raises `InvalidOutputError`."""
        leading = 1 if self.signature.max_batch_size else 0
        for spec in self.signature.outputs:
            array = outputs.get(spec.name)
            if array is None:
                raise InvalidOutputError(f"no output {spec.name!r}; the engine gave {sorted(outputs)}")
            if array.dtype != spec.datatype.numpy:
                raise InvalidOutputError(f"output {spec.name!r} has dtype {array.dtype}, wanted {spec.datatype}")
            if array.shape[leading:] != spec.shape and not _fits(array.shape[leading:], spec.shape):
                wanted = [*([-1] * leading), *spec.shape]
                raise InvalidOutputError(f"output {spec.name!r} has shape {list(array.shape)}, wanted {wanted}")

    def part(self, outputs: Tensors) -> None:
        """Checks the values of what one request gets; raises `InvalidOutputError`."""
        if not self.finite:
            return
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise InvalidOutputError(f"output {name!r} holds NaN or infinity")


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(found) == len(wanted) and all(w in (-1, f) for f, w in zip(found, wanted, strict=True))
