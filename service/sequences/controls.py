"""The control tensors that tell a model where a request stands in its sequence."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from engines.sequence_batching import Control
from engines.tensor import BYTES, Array
from service.errors import InvalidRequestError
from service.types import InferRequest, SequenceStep

_READY, _START, _END, _ID = (f"CONTROL_SEQUENCE_{kind}" for kind in ("READY", "START", "END", "CORRID"))


class Controls:
    """Makes the control tensors of one model, [1, 1] each, or [1] where it has no batch dimension."""

    def __init__(self, controls: Sequence[Control], max_batch_size: int) -> None:
        self._shape = (1, 1) if max_batch_size else (1,)
        self._id = next((control for control in controls if control.kind == _ID), None)
        self._flags = {
            (start, end): self._flagged(controls, {_START: start, _END: end, _READY: True})
            for start, end in product((False, True), repeat=2)
        }

    def _flagged(self, controls: Sequence[Control], holds: Mapping[str, bool]) -> Mapping[str, Array]:
        return {
            control.name: self._made(control, control.true if holds[control.kind] else control.false)
            for control in controls
            if control.kind in holds
        }

    def _made(self, control: Control, value: float | bytes) -> Array:
        return np.full(self._shape, value, control.datatype.numpy)

    def tensors(self, step: SequenceStep) -> dict[str, Array]:
        """The control tensors of a checked step."""
        made = dict(self._flags[step.start, step.end])
        if self._id is not None:
            made[self._id.name] = self._made(self._id, step.id.encode() if isinstance(step.id, str) else step.id)
        return made

    def check(self, request: InferRequest) -> SequenceStep:
        """Where a request stands in its sequence; raises `InvalidRequestError` where its id does not fit the model."""
        step, model = request.sequence, request.model
        if step is None:
            raise InvalidRequestError(
                f"model {model!r} takes sequences, and the request belongs to none; give it a sequence_id that is "
                'not 0 or ""',
                "sequence_id",
            ).as_triton(f"inference request to model '{model}' must specify a non-zero or non-empty correlation ID")
        if self._id is not None:
            _check_type(step, self._id, model)
        return step


def _check_type(step: SequenceStep, control: Control, model: str) -> None:
    is_text = isinstance(step.id, str)
    if is_text != (control.datatype is BYTES):
        found, wanted = ("a string", "a number") if is_text else ("a number", "a string")
        raise InvalidRequestError(
            f"sequence_id {step.id!r} is {found}; model {model!r} takes {wanted}", "sequence_id"
        ).as_triton(
            f"sequence batching control '{control.name}' data-type is '{'BYTES' if is_text else 'UINT64'}', but model "
            f"'{model}' expects '{control.datatype}'"
        )
    if not isinstance(step.id, str):
        sizes = np.iinfo(control.datatype.numpy)
        if not sizes.min <= step.id <= sizes.max:
            text = f"sequence_id {step.id} is not from {sizes.min} to {sizes.max}, as model {model!r} takes it"
            raise InvalidRequestError(text, "sequence_id")
