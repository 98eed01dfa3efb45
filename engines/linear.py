"""A classifier head in numpy: layers, then softmax. It turns embeddings into labels without any SDK.

The version's folder holds `head.safetensors`: `weight` FP32 [classes, features] and `bias` FP32 [classes]; with hidden
layers `weight0`, `bias0`, `weight1`, `bias1` ..., between them the activation that parameter
`batchyard.linear.activation` names (relu, which is the default, or tanh).

One input, FP32 [features]. Outputs, any of them: `label` BYTES [1], `confidence` FP32 [1], `logits` FP32 [classes].
`logits` names the classes by its `label_filename`; `label` needs it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from engines.base import EngineOptions, Outputs
from engines.batch import Batch
from engines.errors import EngineError, InvalidInputError, ModelLoadError
from engines.inputs import check_inputs
from engines.model_config import ModelConfig
from engines.model_files import file_inside
from engines.tensor import BYTES, FP32, Array, DataType, Tensors

Floats = NDArray[np.float32]
Layer = tuple[Floats, Floats]
"""Weight [out, in] and bias [out]."""

FILE = "head.safetensors"
ACTIVATION = "batchyard.linear.activation"
_ACTIVATIONS: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {"relu": lambda x: np.maximum(x, 0), "tanh": lambda x: np.tanh(x)}
)


def open_engine(options: EngineOptions) -> "LinearEngine":
    """Opens the head in `options.folder`; raises `ModelLoadError` where it and the configuration disagree."""
    config = options.config
    path = file_inside(options.folder, config.default_model_filename or FILE)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelLoadError(f"model {config.name!r}: {path.name} cannot be read as safetensors: {error}") from error
    layers = _layers(config, tensors)
    return LinearEngine(config, layers)


class LinearEngine:
    """Runs `layers` over batches FP32 [n, features]."""

    def __init__(self, config: ModelConfig, layers: list[Layer]) -> None:
        self.signature = config.signature
        self._layers = layers
        self._activate = _activation(config)
        self._names = {spec.name for spec in config.outputs}
        self._labels = _labels(config)
        _check_signature(config, features=layers[0][0].shape[1], classes=len(layers[-1][1]))
        self._closed = False

    def warm_up(self) -> None:
        """Nothing to warm: there is nothing to compile."""

    def run(self, batch: Batch) -> Outputs:
        """The declared ones of `label` [n, 1], `confidence` [n, 1] and `logits` [n, classes]."""
        if self._closed:
            raise EngineError("the engine is closed")
        check_inputs(batch, self.signature)
        logits = self._logits(batch.inputs[self.signature.inputs[0].name])
        best = logits.argmax(axis=1, keepdims=True)
        outputs: dict[str, Array] = {}
        if "label" in self._names:
            outputs["label"] = self._labels[best]
        if "confidence" in self._names:
            top = np.take_along_axis(logits, best, axis=1)
            outputs["confidence"] = 1 / np.exp(logits - top).sum(axis=1, keepdims=True)
        if "logits" in self._names:
            outputs["logits"] = logits
        return outputs

    def close(self) -> None:
        """Refuses further batches."""
        self._closed = True

    def _logits(self, values: Floats) -> Floats:
        for number, (weight, bias) in enumerate(self._layers):
            if number:
                values = self._activate(values)
            values = values @ weight.T + bias
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            name = self.signature.inputs[0].name
            raise InvalidInputError(
                f"input {name!r}: row {int(finite.argmin())} is too large, or holds NaN or infinity"
            )
        return values


def _activation(config: ModelConfig) -> Callable[[Floats], Floats]:
    name = config.parameters.get(ACTIVATION, "relu")
    if name not in _ACTIVATIONS:
        raise ModelLoadError(
            f"model {config.name!r}: parameter {ACTIVATION!r} is {name!r}; known are {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _labels(config: ModelConfig) -> Array:
    """BYTES [classes], empty where the configuration names none."""
    names = next((spec.labels for spec in config.outputs if spec.name == "logits"), ())
    labels = np.empty(len(names), dtype=object)
    labels[:] = [name.encode() for name in names]
    return labels


def _layers(config: ModelConfig, tensors: Tensors) -> list[Layer]:
    suffixes = [""] if "weight" in tensors else [str(i) for i in range(len(tensors) // 2)]
    wanted = {f"{part}{suffix}" for suffix in suffixes for part in ("weight", "bias")}
    if not wanted or wanted != tensors.keys():
        raise ModelLoadError(
            f"model {config.name!r}: {FILE} holds {', '.join(sorted(tensors)) or 'nothing'}; wanted weight and bias, "
            "or weight0, bias0, weight1, bias1 and so on"
        )
    layers = [(tensors[f"weight{suffix}"], tensors[f"bias{suffix}"]) for suffix in suffixes]
    width = layers[0][0].shape[-1:]
    for suffix, (weight, bias) in zip(suffixes, layers, strict=True):
        floats = weight.dtype == bias.dtype == np.float32
        if not floats or bias.ndim != 1 or not width or weight.shape != bias.shape + width:
            raise ModelLoadError(
                f"model {config.name!r}: {FILE} has weight{suffix} {weight.dtype} {list(weight.shape)} and "
                f"bias{suffix} {bias.dtype} {list(bias.shape)}; wanted float32 [out, in] and [out], each layer's in "
                "being the out of the one before"
            )
        width = bias.shape
    return layers


def _check_signature(config: ModelConfig, features: int, classes: int) -> None:
    if not config.max_batch_size:
        raise ModelLoadError(f"model {config.name!r}: a linear head runs batches; set max_batch_size")
    found = [(spec.datatype, spec.shape) for spec in config.inputs]
    if found != [(FP32, (features,))]:
        raise ModelLoadError(
            f"model {config.name!r}: {FILE} takes one input TYPE_FP32 with dims [{features}]; declare that"
        )
    known: Mapping[str, tuple[DataType, tuple[int, ...]]] = {
        "label": (BYTES, (1,)),
        "confidence": (FP32, (1,)),
        "logits": (FP32, (classes,)),
    }
    for spec in config.outputs:
        if known.get(spec.name) != (spec.datatype, spec.shape):
            offered = "; ".join(f"{name} {kind.config_name} {list(shape)}" for name, (kind, shape) in known.items())
            raise ModelLoadError(f"model {config.name!r}: output {spec.name!r} is not one that {FILE} gives: {offered}")
    if any(spec.name == "label" or spec.labels for spec in config.outputs):
        _check_labels(config, classes)


def _check_labels(config: ModelConfig, classes: int) -> None:
    count = len(_labels(config))
    if count != classes:
        raise ModelLoadError(
            f"model {config.name!r}: {FILE} has {classes} classes but {count} labels are named; set label_filename of "
            f"output 'logits' to a file of {classes} lines"
        )
