"""Static int8 for OpenVINO, by NNCF's post-training quantisation for transformers.

Only the layers with weights are quantised: attention in FP32 costs 4 % of the speed. SmoothQuant moves outliers of
activations into the weights; bias correction makes up for the mean error that is left.
Sources: G. Xiao et al., "SmoothQuant", arXiv:2211.10438; M. Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", arXiv:1906.04721; NNCF documentation, "Post-training Quantization".
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import rich

from engines.build.calibration import Samples
from engines.build.errors import BuildError
from engines.build.progress import Show
from engines.openvino_import import import_openvino
from engines.tensor import Array

if TYPE_CHECKING:
    import openvino

_SMOOTHING = 0.8
"""SmoothQuant's alpha: how much of the outliers moves into the weights. NNCF's 0.95 leaves MiniLM's worst text at a
cosine of 0.989, this at 0.994."""
_PASSES = 2
"""Over the samples: for SmoothQuant, and for ranges and biases together."""


def quantize_openvino(onnx: Path, target: Path, samples: Samples, report: Show) -> None:
    """Writes the packed encoder `onnx` in int8 as `target` (model.xml) and the .bin beside it.

    Raises `BuildError` where `onnx` cannot be read or quantised, or the files not be written.
    """
    if not samples:
        raise BuildError(f"{onnx}: there are no samples to calibrate int8 with; give some texts")
    openvino = import_openvino()
    try:
        model = openvino.Core().read_model(str(onnx))
        steps = _PASSES * len(samples)
        report("calibrate", 0, steps)
        quantized = _quantize(model, samples, lambda done: report("calibrate", min(done, steps), steps))
        report("save", 0, 1)
        openvino.save_model(quantized, str(target), compress_to_fp16=False)
    except RuntimeError as error:  # a full disk too
        reason = str(error).strip().splitlines()[-1]
        raise BuildError(f"{onnx}: OpenVINO cannot make this int8: {reason}; check the graph, and the disk") from error
    report("save", 1, 1)


def _quantize(model: "openvino.Model", samples: Samples, seen: Callable[[int], None]) -> "openvino.Model":
    """`seen` gets the number of samples run so far, over all passes."""
    import nncf

    numbers = count(1)

    def counted(sample: Mapping[str, Array]) -> Mapping[str, Array]:
        seen(next(numbers))
        return sample

    smoothing = nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
    with _quiet():
        return nncf.quantize(
            model,
            nncf.Dataset(samples, counted),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(samples),
            ignored_scope=nncf.IgnoredScope(names=list(_weightless(model))),
            advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smoothing),
        )


def _weightless(model: "openvino.Model") -> Iterator[str]:
    """The products of two activations: those of attention, and the pooling."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul" and node.input_value(1).get_node().get_type_name() != "Constant":
            yield node.get_friendly_name()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps NNCF's own bars and remarks off the terminal. Import it before: it sets its log level as it loads."""
    console = rich.get_console()  # where it draws
    logger = logging.getLogger("nncf")
    quiet, level = console.quiet, logger.level
    console.quiet = True
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        console.quiet = quiet
        logger.setLevel(level)
