"""Is what an engine answered what its signature says?"""

from dataclasses import dataclass

import numpy as np

from engines.errors import InvalidOutputError
from engines.tensor import Array, Signature, Tensors, TensorSpec


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """`finite`: NaN and infinities are no answer."""

    signature: Signature
    finite: bool = False

    def batch(self, outputs: Tensors) -> None:
        """Checks names, datatypes and dimensions of what a batch gave; raises `InvalidOutputError`."""
        for spec in self.signature.outputs:
            array = outputs.get(spec.name)
            if array is None:
                raise InvalidOutputError(f"no output {spec.name!r}; the engine gave {sorted(outputs)}")
            self._check(array, spec)

    def call(self, outputs: Tensors) -> None:
        """Checks one answer of a model that takes requests one by one, and may leave outputs out; raises
        `InvalidOutputError`."""
        specs = {spec.name: spec for spec in self.signature.outputs}
        for name, array in outputs.items():
            if name not in specs:
                raise InvalidOutputError(f"unknown output {name!r}; the model has {', '.join(specs)}")
            self._check(array, specs[name])
        self.part(outputs)

    def _check(self, array: Array, spec: TensorSpec) -> None:
        leading = 1 if self.signature.max_batch_size else 0
        if array.dtype != spec.datatype.numpy:
            raise InvalidOutputError(f"output {spec.name!r} has dtype {array.dtype}, wanted {spec.datatype}")
        shape = array.shape[leading:]
        if array.ndim < leading or (shape != spec.shape and not _fits(shape, spec.shape)):
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
