"""config.pbtxt of a packed encoder."""

from collections.abc import Iterator

from engines.build.variants import Variant
from engines.model_config import Packing

LEAST_WIDTH = 16
LEAST_BATCH_TOKENS = 512
INSTANCES = 2
"""Engines that share the cores: the event loop takes its share from one batch, and the other is not kept waiting."""
_ON_CPU = f"count: {INSTANCES} kind: KIND_CPU"
_INSTANCE_GROUPS = {"tensorrt": "count: 1 kind: KIND_GPU"}
_PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}


def config_text(name: str, variant: Variant, hidden: int, window: int) -> str:
    """config.pbtxt of the model `name`. `hidden`: floats of an embedding; `window`: the most tokens of one text."""
    packing = packing_of(window)
    inputs = ",\n".join(
        f'  {{ name: "{tensor}" data_type: TYPE_INT64 dims: [ -1 ] }}'
        for tensor in ("input_ids", "position_ids", "segment_ids")
    )
    parameters = {
        "batchyard.text.tokenizer": "tokenizer.json",
        "batchyard.text.max_tokens": str(window),
        "batchyard.text.windows": "true",
        "batchyard.packing.widths": ",".join(map(str, packing.widths)),
        "batchyard.packing.max_tokens": str(packing.max_tokens),
        "batchyard.tolerance": str(variant.tolerance),
    }
    if variant.precision != "fp32":
        parameters["batchyard.precision"] = variant.precision
    return "\n".join(
        [
            "# Texts packed into rows of tokens; each entry of the output is one text of the row.",
            f'name: "{name}"',
            *_engine(variant),
            f"max_batch_size: {packing.row_counts(packing.widths[0])[-1]}",
            f"input [\n{inputs}\n]",
            f'output [\n  {{ name: "embedding" data_type: TYPE_FP32 dims: [ -1, {hidden} ] }}\n]',
            "dynamic_batching { }",
            f"instance_group [ {{ {_INSTANCE_GROUPS.get(variant.engine.backend, _ON_CPU)} }} ]",
            *(f'parameters {{ key: "{key}" value {{ string_value: "{v}" }} }}' for key, v in parameters.items()),
            "",
        ]
    )


def _engine(variant: Variant) -> Iterator[str]:
    backend = variant.engine.backend
    if backend in _PLATFORMS:
        yield f'platform: "{_PLATFORMS[backend]}"'
    yield f'backend: "{backend}"'


def packing_of(window: int) -> Packing:
    """How texts of up to `window` tokens are packed."""
    widths = row_widths(window)
    return Packing(widths, max(LEAST_BATCH_TOKENS, 2 * widths[-1]))


def row_widths(window: int) -> tuple[int, ...]:
    """Powers of two from `LEAST_WIDTH` on, and `window` or the power above it as the widest."""
    widths = [LEAST_WIDTH]
    while widths[-1] < window:
        widths.append(widths[-1] * 2)
    return tuple(widths)
