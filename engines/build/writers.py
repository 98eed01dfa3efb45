"""How each engine's files are written. What a tool needs is imported where it is used, and missed in one line."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from engines.build.encoder_folder import MODULES, TOKENIZER, TRANSFORMER, EncoderFolder, kind_of, read_json
from engines.build.errors import BuildError
from engines.build.progress import Show
from engines.model_config import Packing, Precision
from engines.openvino_import import import_openvino

if TYPE_CHECKING:
    from engines.build.calibration import Samples


class Materials(Protocol):
    """What the writers of one family share; each is made when it is first asked for."""

    @property
    def source(self) -> EncoderFolder: ...

    @property
    def packing(self) -> Packing: ...

    def graph(self, show: Show) -> Path:
        """The packed fp32 ONNX graph, which must not be changed."""

    def samples(self, show: Show) -> "Samples":
        """Packed texts to calibrate with."""


Writer = Callable[[Materials, Path, Precision, Show], None]
"""Writes the artefacts of an encoder into an empty folder."""


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """A `package` that is missing becomes one line with the extra of ours that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise BuildError(f"the {package} package is needed to build this: pip install 'batchyard[{extra}]'") from error


def write_onnx(materials: Materials, target: Path, precision: Precision, show: Show) -> None:
    """model.onnx."""
    graph = materials.graph(show)
    if precision == "fp32":
        show("copy the graph", 0, 1)
        for path in (graph, graph.with_name(f"{graph.name}.data")):
            if path.exists():
                shutil.copyfile(path, target / path.name)
        show("copy the graph", 1, 1)
        return
    with needs("onnx", "build"), needs("onnxruntime", "build"):
        from engines.build.quantize_onnx import quantize_onnx

        quantize_onnx(graph, target / "model.onnx", materials.samples(show), show)


def write_openvino(materials: Materials, target: Path, precision: Precision, show: Show) -> None:
    """model.xml and model.bin. bf16 and fp16 are the fp32 files: OpenVINO rounds as it loads them."""
    graph = materials.graph(show)
    with needs("openvino", "openvino"), needs("nncf", "quantize"):
        openvino = import_openvino()
        try:
            if precision == "int8":
                from engines.build.quantize_openvino import quantize_openvino

                quantize_openvino(graph, target / "model.xml", materials.samples(show), show)
                return
            show("convert", 0, 2)
            # Not openvino.convert_model: it reports its use over the network.
            model = openvino.Core().read_model(str(graph))
            show("save", 1, 2)
            openvino.save_model(model, str(target / "model.xml"), compress_to_fp16=False)
        except RuntimeError as error:  # a full disk too
            reason = str(error).strip().splitlines()[-1]
            raise BuildError(f"OpenVINO cannot write this model: {reason}; check the disk's space") from error
        show("save", 2, 2)


def write_tensorrt(materials: Materials, target: Path, precision: Precision, show: Show) -> None:
    """model.plan."""
    graph = materials.graph(show)
    with needs("onnx", "build"):
        from engines.build.tensorrt_plan import write_plan

        write_plan(graph, target / "model.plan", materials.packing, precision, show)


def write_pytorch(materials: Materials, target: Path, precision: Precision, show: Show) -> None:
    """The encoder's own files, as the engine wants them. It rounds the weights to `precision` as it loads them."""
    source = materials.source
    files = [path for path in source.files if path.name not in (TOKENIZER, MODULES)]
    for done, path in enumerate(files):
        show("copy the weights", done, len(files))
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
    show("copy the weights", len(files), len(files))
