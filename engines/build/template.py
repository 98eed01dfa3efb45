"""config.pbtxt of a packed encoder."""

from collections.abc import Iterator

from engines.build.variants import Variant

LEAST_WIDTH = 16
LEAST_BATCH_TOKENS = 512
INSTANCES = 2
"""Engines that share the cores: the event loop takes its share from one batch, and the other is not kept waiting."""
_PLATFORMS = {"onnxruntime": "onnxruntime_onnx"}


def config_text(name: str, variant: Variant, hidden: int, window: int) -> str:
    """config.pbtxt of the model `name`. `hidden`: floats of an embedding; `window`: the most tokens of one text."""
    widths = row_widths(window)
    most = max(LEAST_BATCH_TOKENS, 2 * widths[-1])
    inputs = ",\n".join(
        f'  {{ name: "{tensor}" data_type: TYPE_INT64 dims: [ -1 ] }}'
        for tensor in ("input_ids", "position_ids", "segment_ids")
    )
    parameters = {
        "batchyard.text.tokenizer": "tokenizer.json",
        "batchyard.text.max_tokens": str(window),
        "batchyard.packing.widths": ",".join(map(str, widths)),
        "batchyard.packing.max_tokens": str(most),
        "batchyard.tolerance": str(variant.tolerance),
    }
    if variant.precision != "fp32":
        parameters["batchyard.precision"] = variant.precision
    return "\n".join(
        [
            "# Texts packed into rows of tokens; each entry of the output is one text of the row.",
            f'name: "{name}"',
            *_engine(variant),
            f"max_batch_size: {most // widths[0]}",
            f"input [\n{inputs}\n]",
            f'output [\n  {{ name: "embedding" data_type: TYPE_FP32 dims: [ -1, {hidden} ] }}\n]',
            "dynamic_batching { }",
            f"instance_group [ {{ count: {INSTANCES} kind: KIND_CPU }} ]",
            *(f'parameters {{ key: "{key}" value {{ string_value: "{v}" }} }}' for key, v in parameters.items()),
            "",
        ]
    )


def _engine(variant: Variant) -> Iterator[str]:
    if variant.backend in _PLATFORMS:
        yield f'platform: "{_PLATFORMS[variant.backend]}"'
    yield f'backend: "{variant.backend}"'


def row_widths(window: int) -> tuple[int, ...]:
    """Powers of two from `LEAST_WIDTH` on, and `window` or the power above it as the widest."""
    widths = [LEAST_WIDTH]
    while widths[-1] < window:
        widths.append(widths[-1] * 2)
    return tuple(widths)
