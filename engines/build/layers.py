"""How far each layer of an int8 model is from the fp32 original, with and without compensation of the error."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from engines.build.writers import needs
from engines.openvino_import import import_openvino
from engines.tensor import Array

_LAYER_END = "LayerNormalization"
Inputs = Mapping[str, Array]


def layer_errors(graph: Path, artefact: Path, batch: Inputs) -> list[float]:
    """The mean relative error (L2) of the tokens of `batch` after each layer normalisation, from the input on.

    `graph`: the packed fp32 ONNX graph; `artefact`: a model.onnx or model.xml made from it. [] where the artefact no
    longer has these layers as they were.
    """
    wanted = _ends(graph)
    if artefact.suffix == ".xml":
        found = _hidden_openvino(artefact, wanted, batch)
    else:
        found = _hidden_onnx(artefact, _ends(artefact), batch)
    if len(found) != len(wanted):
        return []
    real = batch["segment_ids"] >= 0
    return [_error(o[real], f[real]) for o, f in zip(_hidden_onnx(graph, wanted, batch), found, strict=True)]


def plain_errors(graph: Path, samples: Sequence[Inputs], batch: Inputs) -> list[float]:
    """As `layer_errors`, of plain int8: scales from the largest values seen, nothing compensated."""
    with TemporaryDirectory() as scratch, needs("onnxruntime", "build"):
        target = Path(scratch) / "model.onnx"
        _quantize_plainly(graph, target, samples)
        return layer_errors(graph, target, batch)


def _quantize_plainly(graph: Path, target: Path, samples: Sequence[Inputs]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands the samples out one by one."""

        def __init__(self) -> None:
            self._left = iter(samples)

        def get_next(self) -> dict[str, Array] | None:
            return dict(found) if (found := next(self._left, None)) else None

    logging.disable(logging.WARNING)  # advice to simplify the graph first, which ours needs not
    try:
        quantize_static(
            str(graph),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
    finally:
        logging.disable(logging.NOTSET)


def _ends(graph: Path) -> list[str]:
    """The outputs of the layer normalisations, in order."""
    import onnx

    model = onnx.load(str(graph), load_external_data=False)
    return [node.output[0] for node in model.graph.node if node.op_type == _LAYER_END]


def _hidden_onnx(path: Path, names: Sequence[str], batch: Inputs) -> list[Array]:
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [*session.run(list(names), dict(batch))]


def _hidden_openvino(path: Path, names: Sequence[str], batch: Inputs) -> list[Array]:
    openvino = import_openvino()
    core = openvino.Core()
    model = core.read_model(str(path))
    present = {name for node in model.get_ops() for port in node.outputs() for name in port.get_names()}
    if not present >= set(names):
        return []
    model.add_outputs(list(names))
    request: Any = core.compile_model(model, "CPU").create_infer_request()
    request.infer({name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")})
    return [np.array(request.get_tensor(name).data) for name in names]


def _error(original: Array, found: Array) -> float:
    """FP32 [tokens, hidden] each."""
    distance = np.linalg.norm(found - original, axis=1)
    return float((distance / np.maximum(np.linalg.norm(original, axis=1), 1e-12)).mean())
