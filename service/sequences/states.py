"""Implicit state: tensors that one request of a sequence leaves to the next."""

from collections.abc import Sequence

import numpy as np

from engines.sequence_batching import State
from engines.tensor import BYTES, Array, TensorSpec, decode_raw
from service.types import Outputs


class States:
    """The states of one model. `outputs`: what callers get; a state that is not among these is taken out of answers."""

    def __init__(self, states: Sequence[State], outputs: Sequence[TensorSpec], max_batch_size: int) -> None:
        self._states = states
        self._leading = (1,) if max_batch_size else ()
        self._hidden = {state.output_name for state in states} - {spec.name for spec in outputs}
        self._first = {state.input_name: self._initial(state) for state in states}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs that hold states."""
        return tuple(state.output_name for state in self._states)

    def first(self) -> dict[str, Array]:
        """What a sequence begins with. The arrays are shared: nobody may write to them."""
        return dict(self._first)

    def after(self, state: dict[str, Array], outputs: Outputs) -> dict[str, Array]:
        """The state after an answer; takes out of the answer what callers do not get."""
        left = dict(state)
        for one in self._states:
            if one.output_name in outputs:
                left[one.input_name] = outputs[one.output_name].copy()  # the answer may be a view of a whole batch
        for name in self._hidden & outputs.keys():
            del outputs[name]
        return left

    def _initial(self, state: State) -> Array:
        shape = (*self._leading, *state.initial_shape)
        if state.initial:
            return decode_raw(state.initial, state.datatype, shape)
        return np.full(shape, b"" if state.datatype is BYTES else 0, state.datatype.numpy)
