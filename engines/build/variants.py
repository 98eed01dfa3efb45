"""The ways one encoder can be run: for each, the model it becomes in the repository and how its files are written."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from engines.build.encoder_folder import MODULES, TOKENIZER, TRANSFORMER, EncoderFolder, kind_of, read_json
from engines.build.errors import BuildError
from engines.model_config import Precision
from engines.openvino_import import import_openvino

Report = Callable[[str, int, int], None]
"""Called with the step under way, the steps done and the steps in all."""

Writer = Callable[[EncoderFolder, Path, Report], None]
"""Writes the artefacts of an encoder into an empty folder."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run an encoder.

    `suffix`: of the model's name. `tolerance`: the least cosine to the fp32 reference that it promises. `tools`: the
    distributions whose version decides the artefacts.
    """

    suffix: str
    backend: str
    precision: Precision
    tolerance: float
    tools: tuple[str, ...]
    write: Writer


def _write_onnx(source: EncoderFolder, target: Path, report: Report) -> None:
    try:
        from engines.build.packed_encoder import write_packed_encoder
    except ModuleNotFoundError as error:
        raise _missing(error, "onnx", "build") from error
    write_packed_encoder(
        source.root, target / "model.onnx", progress=lambda done, total: report("write the graph", done, total)
    )


def _write_openvino(source: EncoderFolder, target: Path, report: Report) -> None:
    try:
        openvino = import_openvino()
    except ModuleNotFoundError as error:
        raise _missing(error, "openvino", "openvino") from error
    with TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-onnx-") as scratch:
        _write_onnx(source, Path(scratch), report)
        report("convert", 0, 2)
        try:
            # Not openvino.convert_model: it reports its use over the network.
            model = openvino.Core().read_model(str(Path(scratch) / "model.onnx"))
            report("save", 1, 2)
            openvino.save_model(model, str(target / "model.xml"), compress_to_fp16=False)
        except RuntimeError as error:  # a full disk too
            reason = str(error).strip().splitlines()[-1]
            raise BuildError(f"OpenVINO cannot write this model: {reason}; check the disk's space") from error
        report("save", 2, 2)


def _write_pytorch(source: EncoderFolder, target: Path, report: Report) -> None:
    files = [path for path in source.files if path.name not in (TOKENIZER, MODULES)]
    for done, path in enumerate(files):
        report("copy the weights", done, len(files))
        # The engine looks for weights in the version's folder itself.
        home = target if source.root / path.parent == source.transformer else target / path.parent
        home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.root / path, home / path.name)
    if Path(MODULES) in source.files:
        modules = read_json(source.root / MODULES)
        for module in modules:
            if kind_of(module) == TRANSFORMER:
                module["path"] = ""
        (target / MODULES).write_text(json.dumps(modules, indent=2), encoding="utf-8")
    report("copy the weights", len(files), len(files))


def _missing(error: ModuleNotFoundError, package: str, extra: str) -> BuildError:
    if error.name != package:
        raise error
    return BuildError(f"the {package} package is needed to build this: pip install 'batchyard[{extra}]'")


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "onnxruntime": Variant("onnx", "onnxruntime", "fp32", 0.9999, ("onnx",), _write_onnx),
        "openvino": Variant("openvino", "openvino", "fp32", 0.9999, ("onnx", "openvino"), _write_openvino),
        "pytorch": Variant("torch", "pytorch", "fp32", 0.9999, (), _write_pytorch),
        "pytorch_int8": Variant("torch_int8", "pytorch", "int8", 0.98, (), _write_pytorch),
    }
)
"""By the name that `batchyard build --engines` takes."""
