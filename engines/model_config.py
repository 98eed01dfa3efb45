"""The typed form of config.pbtxt, read by `engines.config.pbtxt`. What we add sits in `batchyard.` parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.sequence_batching import SequenceBatching
from engines.tensor import DataType, Signature, TensorSpec

BatchInputKind = Literal[
    "BATCH_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
    "BATCH_ITEM_SHAPE",
    "BATCH_ITEM_SHAPE_FLATTEN",
]
InstanceKind = Literal["KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL"]
TimeoutAction = Literal["REJECT", "DELAY"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
Isolation = Literal["none", "process"]


@dataclass(frozen=True, slots=True)
class BatchInput:
    """An input that the batcher makes from `source_input`, for ragged batching."""

    kind: BatchInputKind
    target_name: str
    datatype: DataType
    source_input: str


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """An output that all requests of a batch give in one piece, laid end to end: BATCH_SCATTER_WITH_INPUT_SHAPE.

    Where its `dims` are -1 a request's part has the size of its `source_input` in the same place.
    """

    target_name: str
    source_input: str
    dims: tuple[int, ...]

    def part(self, source: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a request's part, by that of its source; both with the batch dimension."""
        return tuple(size if size != -1 else source[place] for place, size in enumerate((-1, *self.dims)))


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """Triton's ModelQueuePolicy. Times in microseconds, 0 is none; `max_queue_size` in requests, 0 is no bound."""

    timeout_action: TimeoutAction = "REJECT"
    default_timeout_microseconds: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = 0


@dataclass(frozen=True, slots=True)
class DynamicBatching:
    """Triton's ModelDynamicBatching. Priorities run from 1, the most urgent, to `priority_levels`."""

    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = 0
    preserve_ordering: bool = False
    priority_levels: int = 0
    default_priority_level: int = 0
    default_queue_policy: QueuePolicy = QueuePolicy()
    priority_queue_policies: Mapping[int, QueuePolicy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InstanceGroup:
    """Triton's ModelInstanceGroup: `count` engine instances on each of `gpus`, or on the CPU. `name` is for display."""

    kind: InstanceKind = "KIND_AUTO"
    count: int = 1
    gpus: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions are served: the `latest` N, `all`, or the `specific` ones."""

    kind: Literal["latest", "all", "specific"] = "latest"
    latest: int = 1
    specific: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One entry of `optimization.execution_accelerators`: for ONNX Runtime an execution provider."""

    name: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WarmupInput:
    """One input of a warm-up sample: filled with zeros, with random values, or from the raw bytes of `file`, a path."""

    spec: TensorSpec
    source: Literal["zero", "random", "file"]
    file: str = ""


@dataclass(frozen=True, slots=True)
class WarmupSample:
    """One entry of `model_warmup`: run `count` times at `batch_size` (0: the model has no batch dimension)."""

    name: str
    batch_size: int
    inputs: tuple[WarmupInput, ...]
    count: int = 1


@dataclass(frozen=True, slots=True)
class EnsembleStep:
    """One step of `ensemble_scheduling`: maps are model tensor name -> ensemble tensor name; version -1: the newest."""

    model_name: str
    model_version: int
    input_map: Mapping[str, str]
    output_map: Mapping[str, str]

    @property
    def version(self) -> str:
        """The version to ask, "" for the newest."""
        return str(self.model_version) if self.model_version > 0 else ""


@dataclass(frozen=True, slots=True)
class TextInput:
    """`batchyard.text.*`: the model also takes BYTES input `text`, tokenised here.

    `tokenizer`: file in the model's folder. `max_tokens`: the window, special tokens included. `truncate`: cut longer
    texts instead of refusing them. `windows`: split them into windows, whose answers are joined by their mean. `gate`:
    above 0, the cheap gate leaves out windows that say little new, the more the higher; below 1.
    """

    tokenizer: str
    max_tokens: int
    truncate: bool = False
    windows: bool = False
    gate: float = 0.0


ReasoningSyntax = Literal["none", "deepseek_r1"]
"""How a model shows its reasoning: `deepseek_r1` writes it between <think> and </think>."""

ToolSyntaxName = Literal["none", "hermes"]
"""How a model calls tools: `hermes` writes JSON between <tool_call> and </tool_call>."""


@dataclass(frozen=True, slots=True)
class TextGeneration:
    """`batchyard.generation.*`: the model generates text, for the backends that can.

    `window`: tokens of a prompt and its answer, 0: the model's own. `max_tokens`: of an answer whose caller names none,
    0: what the window leaves. `temperature`, `top_p`: likewise, where the caller names none. `max_sequences`: answers
    generated at once. `max_waiting`: answers that may wait for a place. `kv_cache_tokens`: tokens of all that runs at
    once, 0: the engine's choice. `chat_template`: a file in the model's folder, "" takes what the model files bring.
    """

    window: int = 0
    max_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    max_sequences: int = 64
    max_waiting: int = 256
    kv_cache_tokens: int = 0
    chat_template: str = ""
    reasoning: ReasoningSyntax = "none"
    tools: ToolSyntaxName = "hermes"


TOKENS_PER_SEGMENT = 4


def segments_of(width: int) -> int:
    """Texts that one row of `width` tokens can hold: a quarter of its tokens, in every packed graph and its batches."""
    return max(1, width // TOKENS_PER_SEGMENT)


@dataclass(frozen=True, slots=True)
class Packing:
    """`batchyard.packing.*`: texts are packed into rows.

    `widths`: row widths in tokens, ascending, each a shape that is warmed. `max_tokens`: slots one batch may have.
    """

    widths: tuple[int, ...]
    max_tokens: int

    def row_counts(self, width: int) -> tuple[int, ...]:
        """The row counts served at `width`: 1, 2, 3, 4, 6, 8, 12 ... up to `max_tokens` slots."""
        most = max(1, self.max_tokens // width)
        steps = {1, most}
        power = 1
        while power <= most:
            steps.update(n for n in (power, power + power // 2) if n <= most)
            power *= 2
        return tuple(sorted(steps))

    def segments(self, width: int) -> int:
        """Texts one row can hold: a quarter of its tokens, as the exported graphs have it."""
        return segments_of(width)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model's configuration, validated. `proto` is config.pbtxt as it was read, for the config endpoint.

    `inputs` and `outputs` describe the model file. `ensemble`: the steps in an order they can run in. `parameters`: all
    of them, `batchyard.` ones included. `threads` 0: a share of the machine; `device` "": the engine's choice.
    `fallback`: the device to run on, with a warning, where the one asked for is not there; "" refuses the model then.
    `tolerance`: the least cosine between an answer and that of the fp32 reference. `isolation`: "process" runs each
    instance in a process of its own. `watchdog`: seconds without progress after which such a process is ended, 0: 20
    times the longest batch of its warm-up, at least 1. `finite`: NaN and infinities in an answer are an error.
    `decoupled`: a request may have any number of answers. `response_cache`: an answer may be given again.
    `input_reshapes`, `output_reshapes`: the shape in which the model itself takes or gives a tensor, where that is not
    what `inputs` and `outputs` say.
    """

    name: str
    backend: str
    platform: str
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    proto: ModelConfigProto
    batch_inputs: tuple[BatchInput, ...] = ()
    batch_outputs: tuple[BatchOutput, ...] = ()
    input_reshapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    output_reshapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dynamic_batching: DynamicBatching | None = None
    sequence_batching: SequenceBatching | None = None
    instance_groups: tuple[InstanceGroup, ...] = (InstanceGroup(),)
    version_policy: VersionPolicy = VersionPolicy()
    accelerators: tuple[Accelerator, ...] = ()
    warmup: tuple[WarmupSample, ...] = ()
    ensemble: tuple[EnsembleStep, ...] = ()
    default_model_filename: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    text: TextInput | None = None
    packing: Packing | None = None
    generation: TextGeneration | None = None
    padding: Mapping[str, int] = field(default_factory=dict)
    precision: Precision = "fp32"
    threads: int = 0
    device: str = ""
    fallback: str = ""
    tolerance: float = 0.9999
    isolation: Isolation = "none"
    watchdog: float = 0.0
    finite: bool = False
    decoupled: bool = False
    response_cache: bool = False

    @property
    def signature(self) -> Signature:
        """What a request holds, where it is the tensors themselves."""
        return Signature(self.inputs, self.outputs, self.max_batch_size)
