"""Runs an ONNX Runtime session with its tensors in a device's memory, which is kept for each shape."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.tensor import Array

if TYPE_CHECKING:
    import onnxruntime

_MOST_SHAPES = 64
"""Shapes whose inputs keep their memory; the one that was used longest ago gives its own back."""

Inputs = Mapping[str, Array]
_Key = tuple[tuple[str, tuple[int, ...]], ...]


class BoundSession:
    """`device`: ONNX Runtime's name of the memory (cuda, cann, cpu); `number`: which one of it."""

    def __init__(
        self, session: "onnxruntime.InferenceSession", device: str, number: int, outputs: Sequence[str]
    ) -> None:
        self._session = session
        self._device = device
        self._number = number
        self._outputs = outputs
        self._kept: OrderedDict[_Key, tuple[onnxruntime.IOBinding, dict[str, onnxruntime.OrtValue]]] = OrderedDict()

    def run(self, inputs: Inputs) -> list[Array]:
        """The outputs, in the order of `outputs`, owned by the caller."""
        key = tuple((name, array.shape) for name, array in sorted(inputs.items()))
        if key in self._kept:
            self._kept.move_to_end(key)
            binding, values = self._kept[key]
            for name, array in inputs.items():
                values[name].update_inplace(np.ascontiguousarray(array))
        else:
            binding, values = self._bind(inputs)
            self._kept[key] = (binding, values)
            if len(self._kept) > _MOST_SHAPES:
                self._kept.popitem(last=False)
        # Bound anew: an output of the last run would be written again, and only fit where its shape is the same.
        binding.clear_binding_outputs()
        for name in self._outputs:
            binding.bind_output(name, self._device, self._number)
        self._session.run_with_iobinding(binding)
        found: list[Any] = binding.copy_outputs_to_cpu()
        return found

    def _bind(self, inputs: Inputs) -> "tuple[onnxruntime.IOBinding, dict[str, onnxruntime.OrtValue]]":
        import onnxruntime

        binding = self._session.io_binding()
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._device, self._number)
            for name, array in inputs.items()
        }
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        return binding, values
