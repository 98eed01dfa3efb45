"""The torch engine, Triton's backend "pytorch": packed text encoders from safetensors, on CPU or CUDA.

The version's folder is that of a Hugging Face encoder: `config.json`, `model.safetensors`, optionally `modules.json`.
Nothing is unpickled, no TorchScript is run. `batchyard.precision`: fp32, bf16, fp16, or int8 (linear layers, CPU only).
"""

from typing import TYPE_CHECKING

from engines.base import EngineOptions, Outputs
from engines.batch import Batch
from engines.errors import EngineError, InvalidInputError, ModelLoadError
from engines.inputs import check_inputs
from engines.model_config import ModelConfig, segments_of
from engines.model_files import path_inside
from engines.tensor import FP32, INT64, Array
from engines.torch_threads import spin_briefly
from engines.warmup import warmup_batches

if TYPE_CHECKING:
    from engines.torch_encoder import PackedEncoder

WEIGHTS = "model.safetensors"
_INPUTS = ("input_ids", "position_ids", "segment_ids")
_OUTPUT = "embedding"
_CODE_FILES = (".pt", ".pth", ".pt2", ".bin", ".pkl", ".ckpt")


def open_engine(options: EngineOptions) -> "TorchEngine":
    """Opens the encoder in `options.folder`; raises `ModelLoadError` where it, its configuration or device misfit."""
    spin_briefly()
    from engines.encoder_source import read_encoder
    from engines.torch_encoder import cuda_devices, load_encoder

    config = options.config
    _check_files(options)
    device = choose_device(config, options.device, cuda_devices())
    source = read_encoder(options.folder)
    check_signature(config, source.hidden)
    return TorchEngine(config, load_encoder(source, config.precision, device), options.threads)


class TorchEngine:
    """Runs `encoder` over packed rows with `threads` CPU threads."""

    def __init__(self, config: ModelConfig, encoder: "PackedEncoder", threads: int) -> None:
        self.signature = config.signature
        self._config = config
        self._encoder: PackedEncoder | None = encoder
        self._threads = threads

    def warm_up(self) -> None:
        """Runs every row width and count of `batchyard.packing.*` once."""
        for batch in warmup_batches(self._config):
            self.run(batch)

    def run(self, batch: Batch) -> Outputs:
        """`embedding` FP32 [rows, width // 4, hidden]; entries of segments that hold no text are zero."""
        encoder = self._encoder
        if encoder is None:
            raise EngineError("the engine is closed")
        check_inputs(batch, self.signature)
        arrays = [batch.inputs[name] for name in _INPUTS]
        _check_values(arrays, [len(encoder.words), len(encoder.positions), segments_of(arrays[2].shape[1])])
        return {_OUTPUT: encoder.encode(arrays, self._threads)}

    def close(self) -> None:
        """Lets go of the weights."""
        self._encoder = None


def choose_device(config: ModelConfig, device: str, cuda_devices: int) -> str:
    """`device`, else "cuda" for KIND_GPU, else "cpu"; raises `ModelLoadError` where torch has no such device."""
    wants_gpu = any(group.kind == "KIND_GPU" for group in config.instance_groups)
    chosen = (device or ("cuda" if wants_gpu else "cpu")).lower()
    kind, _, number = chosen.partition(":")
    if kind not in ("cpu", "cuda") or not (number or "0").isdecimal():
        raise ModelLoadError(f"model {config.name!r}: torch device {device!r} is unknown; use cpu, cuda or cuda:0")
    if kind == "cuda" and int(number or 0) >= cuda_devices:
        raise ModelLoadError(
            f"model {config.name!r}: wants device {chosen}, but torch finds {cuda_devices} CUDA devices; use KIND_CPU, "
            "or install a CUDA build of torch on a machine with a GPU"
        )
    if kind == "cuda" and config.precision == "int8":
        raise ModelLoadError(f"model {config.name!r}: torch int8 runs on the CPU only; use bf16 or fp16 on {chosen}")
    return chosen


def check_signature(config: ModelConfig, hidden: int) -> None:
    """Raises `ModelLoadError` where the configuration does not declare a packed encoder of `hidden` outputs."""
    found_inputs = {spec.name: (spec.datatype, spec.shape) for spec in config.inputs}
    found_outputs = {spec.name: (spec.datatype, spec.shape) for spec in config.outputs}
    inputs = dict.fromkeys(_INPUTS, (INT64, (-1,)))
    outputs = {_OUTPUT: (FP32, (-1, hidden))}
    if not config.max_batch_size or found_inputs != inputs or found_outputs != outputs:
        raise ModelLoadError(
            f"model {config.name!r}: a packed encoder has max_batch_size above 0, inputs {', '.join(_INPUTS)} "
            f"TYPE_INT64 with dims [-1] and output {_OUTPUT} TYPE_FP32 with dims [-1, {hidden}]; declare these"
        )


def _check_files(options: EngineOptions) -> None:
    """Raises `ModelLoadError` for weights that could run code, and for links that lead out of the folder."""
    files = list(options.folder.rglob("*"))
    for path in files:
        path_inside(options.folder, str(path.relative_to(options.folder)))
    name = options.config.default_model_filename or WEIGHTS
    code = [path.name for path in files if path.suffix in _CODE_FILES]
    if code and not any(path.name == WEIGHTS for path in files):
        name = code[0]
    if name != WEIGHTS:
        raise ModelLoadError(
            f"model {options.config.name!r}: {name} is not served, since pickles and TorchScript can run code; save "
            f"the encoder as {WEIGHTS} with its config.json"
        )


def _check_values(arrays: list[Array], limits: list[int]) -> None:
    """Raises `InvalidInputError` where a table would be read outside: on a GPU that ends the process's use of it."""
    shape = arrays[0].shape
    for name, array, limit in zip(_INPUTS, arrays, limits, strict=True):
        if array.shape != shape or not array.size:
            raise InvalidInputError(
                f"input {name!r} has shape {list(array.shape)}, input_ids {list(shape)}; wanted the same, and not empty"
            )
        least = -1 if name == "segment_ids" else 0
        if array.min() < least or array.max() >= limit:
            found = f"{array.min()} to {array.max()}"
            raise InvalidInputError(f"input {name!r} holds {found}, wanted {least} to {limit - 1}")
