"""The tensors that a sequence batcher adds to what callers send, as the engine of such a model sees them."""

from dataclasses import replace

from engines.model_config import ModelConfig, WarmupInput, WarmupSample
from engines.tensor import TensorSpec


def with_sequence_tensors(config: ModelConfig) -> ModelConfig:
    """The configuration that the engine is opened with: control inputs and states are inputs and outputs like others.

    Where the model has no `sequence_batching`: the same.
    """
    batching = config.sequence_batching
    if batching is None:
        return config
    controls = [TensorSpec(control.name, control.datatype, (1,)) for control in batching.controls]
    before = [TensorSpec(state.input_name, state.datatype, state.shape) for state in batching.states]
    after = [TensorSpec(state.output_name, state.datatype, state.shape) for state in batching.states]
    shown = {spec.name for spec in config.outputs}
    first = [replace(spec, shape=s.initial_shape) for spec, s in zip(before, batching.states, strict=True)]
    made = tuple(WarmupInput(spec, "zero") for spec in (*controls, *first))
    return replace(
        config,
        inputs=(*config.inputs, *controls, *before),
        outputs=(*config.outputs, *(spec for spec in after if spec.name not in shown)),
        warmup=tuple(_filled(sample, made) for sample in config.warmup),
    )


def _filled(sample: WarmupSample, made: tuple[WarmupInput, ...]) -> WarmupSample:
    return replace(sample, inputs=(*sample.inputs, *made))
