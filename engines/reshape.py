"""`reshape` of config.pbtxt: callers see a tensor's `dims`, its model the same elements in another shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engines.base import Engine, Outputs
from engines.batch import Batch
from engines.calls import Call, CallEngine, Response
from engines.model_config import ModelConfig, WarmupSample
from engines.tensor import Array, Signature, Tensors, TensorSpec

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reshape:
    """The two shapes, callers' and model's, of each tensor that has two. Both without the batch dimension, which `lead`
    counts: 1 where there is one, else 0. The n-th size of -1 of one is the n-th of the other."""

    inputs: Mapping[str, tuple[Shape, Shape]]
    outputs: Mapping[str, tuple[Shape, Shape]]
    lead: int

    def taken(self, tensors: Tensors) -> dict[str, Array]:
        """What callers give, as the model takes it."""
        pairs = self.inputs
        return {name: self._turned(a, *pairs[name]) if name in pairs else a for name, a in tensors.items()}

    def given(self, tensors: Tensors) -> dict[str, Array]:
        """What the model gives, as callers get it; a tensor of another shape than the model's is left as it is."""
        pairs = self.outputs
        return {name: self._turned(a, *reversed(pairs[name])) if name in pairs else a for name, a in tensors.items()}

    def _turned(self, array: Array, found: Shape, wanted: Shape) -> Array:
        sizes = array.shape[self.lead :]
        if len(sizes) != len(found) or any(f not in (-1, size) for f, size in zip(found, sizes, strict=True)):
            return array
        free = iter([size for size, f in zip(sizes, found, strict=True) if f == -1])
        return array.reshape(array.shape[: self.lead] + tuple(next(free) if w == -1 else w for w in wanted))

    def signature(self, inner: Signature) -> Signature:
        """The model's signature as callers see it."""
        return replace(inner, inputs=_outer(inner.inputs, self.inputs), outputs=_outer(inner.outputs, self.outputs))


def _outer(specs: Sequence[TensorSpec], pairs: Mapping[str, tuple[Shape, Shape]]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, shape=pairs[spec.name][0]) if spec.name in pairs else spec for spec in specs)


def reshape_of(config: ModelConfig) -> Reshape | None:
    """What `config` says of shapes; None where every tensor has one only."""
    if not config.input_reshapes and not config.output_reshapes:
        return None
    return Reshape(
        _pairs(config.inputs, config.input_reshapes),
        _pairs(config.outputs, config.output_reshapes),
        1 if config.max_batch_size else 0,
    )


def _pairs(specs: Sequence[TensorSpec], shapes: Mapping[str, Shape]) -> dict[str, tuple[Shape, Shape]]:
    return {spec.name: (spec.shape, shapes[spec.name]) for spec in specs if spec.name in shapes}


def inner_config(config: ModelConfig) -> ModelConfig:
    """The configuration as the engine gets it: all shapes are the model's."""
    reshape = reshape_of(config)
    if reshape is None:
        return config
    return replace(
        config,
        inputs=_inner(config.inputs, config.input_reshapes),
        outputs=_inner(config.outputs, config.output_reshapes),
        warmup=tuple(_inner_sample(sample, reshape) for sample in config.warmup),
        input_reshapes={},
        output_reshapes={},
    )


def _inner_sample(sample: WarmupSample, reshape: Reshape) -> WarmupSample:
    """The sizes of a sample are all known, so that they can be taken for those of an array without a batch."""
    one = replace(reshape, lead=0)
    inputs = []
    for given in sample.inputs:
        blank = np.broadcast_to(np.zeros((), bool), given.spec.shape)
        shape = one.taken({given.spec.name: blank})[given.spec.name].shape
        inputs.append(replace(given, spec=replace(given.spec, shape=shape)))
    return replace(sample, inputs=tuple(inputs))


def _inner(specs: Sequence[TensorSpec], shapes: Mapping[str, Shape]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in specs)


class ReshapingEngine:
    """Implements `Engine` over an engine that was opened with the inner configuration."""

    def __init__(self, engine: Engine, reshape: Reshape) -> None:
        self.signature = reshape.signature(engine.signature)
        self._engine = engine
        self._reshape = reshape

    def warm_up(self) -> None:
        """See `Engine`."""
        self._engine.warm_up()

    def run(self, batch: Batch) -> Outputs:
        """See `Engine`."""
        return self._reshape.given(self._engine.run(Batch(self._reshape.taken(batch.inputs), batch.size)))

    def close(self) -> None:
        """See `Engine`."""
        self._engine.close()


class ReshapingCallEngine:
    """Implements `CallEngine` over an engine that was opened with the inner configuration."""

    def __init__(self, engine: CallEngine, reshape: Reshape) -> None:
        self.signature = reshape.signature(engine.signature)
        self._engine = engine
        self._reshape = reshape

    def warm_up(self) -> None:
        """See `CallEngine`."""
        self._engine.warm_up()

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        """See `CallEngine`."""
        found = self._engine.execute([self._taken(call) for call in calls])
        return [response and self._given(response) for response in found]

    def close(self) -> None:
        """See `CallEngine`."""
        self._engine.close()

    def __getattr__(self, name: str) -> Any:
        """What the engine offers beside the contract, its model's metrics for one."""
        return getattr(self._engine, name)

    def _taken(self, call: Call) -> Call:
        respond = call.respond
        return replace(
            call, inputs=self._reshape.taken(call.inputs), respond=lambda response: respond(self._given(response))
        )

    def _given(self, response: Response) -> Response:
        return replace(response, outputs=self._reshape.given(response.outputs))
