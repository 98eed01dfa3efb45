"""Builds a TensorRT plan from an ONNX graph of packed rows, with TensorRT or TensorRT for RTX.

One optimisation profile a row width: from one row to as many as a batch may have. TensorRT times kernels, so it needs
the GPU that will serve; TensorRT for RTX builds on any machine, for all RTX GPUs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import onnx as onnx_files

from engines.build.errors import BuildError
from engines.build.progress import Show
from engines.build.tensorrt_plan_casts import Narrow, cast_file, count_quantized
from engines.build.tensorrt_plan_progress import PROGRESS_STEPS, Progress, progress_monitor
from engines.errors import ModelLoadError
from engines.model_config import Packing, Precision
from engines.onnx_file import check_external_data
from engines.tensorrt_api import Complaints, TensorRt, load_tensorrt, logger, strongly_typed
from engines.tensorrt_notes import PlanNotes, write_notes

Portability = Literal["exact", "version"]
"""`exact`: the plan runs on the version of TensorRT that built it. `version`: on later ones too, somewhat slower; it
then brings a runtime, code that runs in the server's process (`batchyard.tensorrt.host_code`). RTX knows `exact` only.
"""

_BUILD = "build the plan"


def write_plan(
    onnx: Path,
    target: Path,
    packing: Packing,
    precision: Precision,
    report: Show,
    *,
    portability: Portability = "exact",
) -> None:
    """Builds the file `target` from `onnx`, inputs INT64 [rows, width], and writes notes for the engine beside it.

    `precision`: what the arithmetic is done in. An int8 or fp8 graph, one with QuantizeLinear, stays so; "int8" asks
    for one, and does the rest in fp16. TensorRT's timing cache is kept in `<target>.timing`. Raises `BuildError`.
    """
    sdk = _load()
    check_external_data(onnx)
    if precision == "int8" and not count_quantized(onnx):
        raise BuildError(f"{onnx.name}: int8 wants a graph with QuantizeLinear, found none; quantise it first")
    if portability == "version" and not sdk.tunes:
        raise BuildError(f"{sdk.package} {sdk.version} builds for its own version only; build once for each version")
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        graph = _in_precision(onnx, Path(scratch) / "model.onnx", precision, report)
        plan = _Build(sdk, packing, precision, portability).run(graph, _timing_cache(target), report)
    target.write_bytes(plan)
    write_notes(target, PlanNotes(sdk.package, sdk.version, portability == "version", _table_sizes(onnx)))


def _load() -> TensorRt:
    try:
        return load_tensorrt()
    except ModelLoadError as error:
        raise BuildError(str(error)) from error


def _timing_cache(target: Path) -> Path:
    return target.with_name(f"{target.name}.timing")


def _in_precision(onnx: Path, scratch: Path, precision: Precision, report: Show) -> Path:
    if precision == "fp32":
        return onnx
    narrow: Narrow = "bf16" if precision == "bf16" else "fp16"
    report(f"cast to {narrow}", 0, 1)
    cast_file(onnx, scratch, narrow)
    report(f"cast to {narrow}", 1, 1)
    return scratch


@dataclass(frozen=True, slots=True)
class _Build:
    sdk: TensorRt
    packing: Packing
    precision: Precision
    portability: Portability

    def run(self, graph: Path, timing: Path, report: Show) -> Any:
        """The plan, a buffer."""
        complaints = Complaints()
        log = logger(self.sdk, complaints)
        builder = self._builder(log, complaints)
        network = builder.create_network(strongly_typed(self.sdk))
        self._parse(graph, network, log, complaints)
        progress = Progress(lambda done: report(_BUILD, done, PROGRESS_STEPS))
        config = self._config(builder, network, progress)
        cache = _attach_cache(config, timing) if self.sdk.tunes else None
        plan = builder.build_serialized_network(network, config)
        progress.raise_failure()
        if plan is None:
            raise BuildError(f"{self.sdk.package} {self.sdk.version} cannot build {graph.name}: {complaints.take()}")
        if cache is not None:
            timing.write_bytes(cache.serialize())
        report(_BUILD, PROGRESS_STEPS, PROGRESS_STEPS)
        return plan

    def _builder(self, log: Any, complaints: Complaints) -> Any:
        try:
            return self.sdk.module.Builder(log)
        except TypeError as error:  # what its constructor makes of a nullptr
            raise BuildError(
                f"{self.sdk.package} {self.sdk.version} builds on a machine with an NVIDIA GPU only, found: "
                f"{complaints.take()}; build there, or install batchyard[tensorrt-rtx], which needs none"
            ) from error

    def _parse(self, graph: Path, network: Any, log: Any, complaints: Complaints) -> None:
        parser = self.sdk.module.OnnxParser(network, log)
        if not parser.parse_from_file(str(graph)):
            found = _parser_error(parser, complaints)
            raise BuildError(f"{self.sdk.package} {self.sdk.version} cannot read the graph{found}")

    def _config(self, builder: Any, network: Any, progress: Progress) -> Any:
        flags = self.sdk.module.BuilderFlag
        config = builder.create_builder_config()
        if self.precision == "fp32":
            config.clear_flag(flags.TF32)  # 10 bits of mantissa are not fp32
        if self.portability == "version":
            config.set_flag(flags.VERSION_COMPATIBLE)
        for profile in self._profiles(builder, network):
            if config.add_optimization_profile(profile) < 0:
                raise BuildError(f"{self.sdk.package} refuses the row widths {list(self.packing.widths)}")
        config.progress_monitor = progress_monitor(self.sdk, progress)
        return config

    def _profiles(self, builder: Any, network: Any) -> Iterator[Any]:
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        for tensor in inputs:
            if len(tensor.shape) != 2:
                shown = list(tensor.shape)
                raise BuildError(f"input {tensor.name!r} has shape {shown}; a packed graph takes [rows, width] only")
        for width in self.packing.widths:
            profile = builder.create_optimization_profile()
            most = (self.packing.row_counts(width)[-1], width)
            for tensor in inputs:
                profile.set_shape(tensor.name, (1, width), most, most)
            yield profile


def _attach_cache(config: Any, path: Path) -> Any:
    """The timing cache in `path`, an empty one where it is absent, broken or of another GPU."""
    kept = path.read_bytes() if path.exists() else b""
    for content in (kept, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    return None


def _parser_error(parser: Any, complaints: Complaints) -> str:
    if not parser.num_errors:
        return f": {complaints.take()}"
    error = parser.get_error(0)
    where = " ".join(filter(None, (error.node_operator(), error.node_name())))
    return f"{f' at {where}' if where else ''}: {' '.join(error.desc().split())}"


def _table_sizes(onnx: Path) -> dict[str, int]:
    """The inputs that look up rows of a table, with how many rows it has."""
    graph = onnx_files.load(onnx, load_external_data=False).graph
    rows = {weight.name: weight.dims[0] for weight in graph.initializer if weight.dims}
    inputs = {value.name for value in graph.input}
    sizes: dict[str, int] = {}
    for node in graph.node:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        if node.op_type == "Gather" and axis == 0 and node.input[0] in rows and node.input[1] in inputs:
            name = node.input[1]
            sizes[name] = min(rows[node.input[0]], sizes.get(name, rows[node.input[0]]))
    return sizes
