"""The ways one encoder can be run: an engine and the precision of its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from engines.build.errors import WrongRequestError
from engines.build.writers import Writer, write_onnx, write_openvino, write_pytorch, write_tensorrt
from engines.model_config import Precision

TOLERANCES: Mapping[Precision, float] = MappingProxyType({"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999, "int8": 0.98})
"""The least cosine to the fp32 original that a model of a precision promises."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """An engine that can be built for.

    `name`: as `--engines` takes it. `suffix`: of its models' names. `precisions`: those it has, the first where none is
    asked for. `tools`, `int8_tools`: the distributions whose version decides the artefacts. `code`: the files of this
    folder that write them, beside those that all share. `calibrated`: does its int8 learn the range of its numbers from
    texts? `artefact`: the file with its graph, for one that is.
    """

    name: str
    suffix: str
    backend: str
    precisions: Sequence[Precision]
    write: Writer
    tools: Sequence[str] = ()
    int8_tools: Sequence[str] = ()
    code: Sequence[str] = ()
    calibrated: bool = False
    artefact: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run an encoder."""

    engine: EngineKind
    precision: Precision

    @property
    def suffix(self) -> str:
        """Of the model's name: onnx, onnx_int8; an engine's fp32 goes without its precision."""
        return self.engine.suffix if self.precision == "fp32" else f"{self.engine.suffix}_{self.precision}"

    @property
    def tolerance(self) -> float:
        return TOLERANCES[self.precision]

    @property
    def calibrated(self) -> bool:
        """Does it learn the range of its numbers from texts?"""
        return self.engine.calibrated and self.precision == "int8"

    @property
    def tools(self) -> Sequence[str]:
        return (*self.engine.tools, *(self.engine.int8_tools if self.precision == "int8" else ()))


_KINDS = (
    EngineKind(
        "onnxruntime",
        "onnx",
        "onnxruntime",
        ("fp32", "int8"),
        write_onnx,
        tools=("onnx",),
        int8_tools=("onnxruntime",),
        code=("quantize_onnx.py", "int8_*.py", "onnx_graph.py"),
        calibrated=True,
        artefact="model.onnx",
    ),
    EngineKind(
        "openvino",
        "openvino",
        "openvino",
        ("fp32", "bf16", "fp16", "int8"),
        write_openvino,
        tools=("onnx", "openvino"),
        int8_tools=("nncf",),
        code=("quantize_openvino.py",),
        calibrated=True,
        artefact="model.xml",
    ),
    EngineKind("torch", "torch", "pytorch", ("fp32", "bf16", "fp16", "int8"), write_pytorch),
    EngineKind(
        "tensorrt",
        "tensorrt",
        "tensorrt",
        ("fp16", "fp32", "bf16"),
        write_tensorrt,
        tools=("onnx", "tensorrt", "tensorrt-rtx-cu13-bindings"),
        code=("tensorrt_plan.py", "tensorrt_plan_casts.py"),
    ),
)
ENGINES: Mapping[str, EngineKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""By the name that `batchyard build --engines` takes."""

DEFAULT_ENGINES = ("onnxruntime", "openvino", "torch")
SHIPPED = (*(Variant(ENGINES[name], "fp32") for name in DEFAULT_ENGINES), Variant(ENGINES["torch"], "int8"))
"""What the shipped family is built as where nothing is asked for."""


def choose_variants(engines: Sequence[str], precisions: Sequence[str]) -> list[Variant]:
    """Each of `engines` in each of `precisions`.

    No engines: those of `DEFAULT_ENGINES` that have the precision; no precisions: each engine's first. Raises
    `WrongRequestError` for what is unknown, and for an engine that has not the precision asked of it.
    """
    known = list(dict.fromkeys(precision for kind in _KINDS for precision in kind.precisions))
    for engine in engines:
        if engine not in ENGINES:
            raise WrongRequestError(f"--engines: {engine!r} is unknown; known are {', '.join(ENGINES)}")
    for precision in precisions:
        if precision not in known:
            raise WrongRequestError(f"--precision: {precision!r} is unknown; known are {', '.join(known)}")
    kinds = [ENGINES[name] for name in dict.fromkeys(engines or DEFAULT_ENGINES)]
    wanted = [(kind, name) for kind in kinds for name in dict.fromkeys(precisions or kind.precisions[:1])]
    for kind, name in wanted:
        if engines and name not in kind.precisions:
            raise WrongRequestError(f"--precision: {kind.name} has no {name}; it has {', '.join(kind.precisions)}")
    return [Variant(kind, found) for kind, name in wanted for found in kind.precisions if found == name]


def split_name(name: str) -> tuple[str, Variant | None]:
    """The family and the variant of a model's name; None for one that ends in no variant's suffix."""
    variants = [Variant(kind, precision) for kind in _KINDS for precision in kind.precisions]
    for variant in sorted(variants, key=lambda one: len(one.suffix), reverse=True):
        family = name.removesuffix(f"_{variant.suffix}")
        if family and family != name:
            return family, variant
    return name, None
