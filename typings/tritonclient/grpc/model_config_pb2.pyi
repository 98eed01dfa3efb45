"""The part of Triton's model configuration that Batchyard reads. Enums are their numbers, as protobuf gives them."""

from abc import ABCMeta
from collections.abc import Mapping, MutableSequence
from typing import TypeVar

from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)

class _Messages(MutableSequence[_M], metaclass=ABCMeta):
    def add(self) -> _M: ...

class ModelTensorReshape(Message):
    shape: MutableSequence[int]

class ModelInput(Message):
    name: str
    data_type: int
    dims: MutableSequence[int]
    reshape: ModelTensorReshape
    allow_ragged_batch: bool
    optional: bool

class ModelOutput(Message):
    name: str
    data_type: int
    dims: MutableSequence[int]
    reshape: ModelTensorReshape
    label_filename: str

class BatchInput(Message):
    kind: int
    target_name: MutableSequence[str]
    data_type: int
    source_input: MutableSequence[str]

class BatchOutput(Message):
    target_name: MutableSequence[str]
    kind: int
    source_input: MutableSequence[str]

class ModelVersionPolicy(Message):
    class Latest(Message):
        num_versions: int

    class All(Message): ...

    class Specific(Message):
        versions: MutableSequence[int]

    latest: Latest
    all: All
    specific: Specific

class ModelOptimizationPolicy(Message):
    class ExecutionAccelerators(Message):
        class Accelerator(Message):
            name: str
            parameters: Mapping[str, str]

        gpu_execution_accelerator: _Messages[Accelerator]
        cpu_execution_accelerator: _Messages[Accelerator]

    class PinnedMemoryBuffer(Message):
        enable: bool

    execution_accelerators: ExecutionAccelerators
    input_pinned_memory: PinnedMemoryBuffer
    output_pinned_memory: PinnedMemoryBuffer

class ModelQueuePolicy(Message):
    timeout_action: int
    default_timeout_microseconds: int
    allow_timeout_override: bool
    max_queue_size: int

class ModelDynamicBatching(Message):
    preferred_batch_size: MutableSequence[int]
    max_queue_delay_microseconds: int
    preserve_ordering: bool
    priority_levels: int
    default_priority_level: int
    default_queue_policy: ModelQueuePolicy
    priority_queue_policy: Mapping[int, ModelQueuePolicy]

class ModelSequenceBatching(Message):
    class Control(Message):
        kind: int
        int32_false_true: MutableSequence[int]
        fp32_false_true: MutableSequence[float]
        bool_false_true: MutableSequence[bool]
        data_type: int

    class ControlInput(Message):
        name: str
        control: _Messages[ModelSequenceBatching.Control]

    class InitialState(Message):
        name: str
        data_type: int
        dims: MutableSequence[int]
        zero_data: bool
        data_file: str

    class State(Message):
        input_name: str
        output_name: str
        data_type: int
        dims: MutableSequence[int]
        initial_state: _Messages[ModelSequenceBatching.InitialState]

    class StrategyDirect(Message):
        max_queue_delay_microseconds: int
        minimum_slot_utilization: float

    class StrategyOldest(Message):
        max_candidate_sequences: int
        preferred_batch_size: MutableSequence[int]
        max_queue_delay_microseconds: int
        preserve_ordering: bool

    direct: StrategyDirect
    oldest: StrategyOldest
    max_sequence_idle_microseconds: int
    control_input: _Messages[ControlInput]
    state: _Messages[State]

class ModelEnsembling(Message):
    class Step(Message):
        model_name: str
        model_version: int
        input_map: Mapping[str, str]
        output_map: Mapping[str, str]

    step: _Messages[Step]

class ModelInstanceGroup(Message):
    KIND_AUTO: int
    KIND_CPU: int
    KIND_GPU: int

    name: str
    kind: int
    count: int
    gpus: MutableSequence[int]

class ModelParameter(Message):
    string_value: str

class ModelWarmup(Message):
    class Input(Message):
        data_type: int
        dims: MutableSequence[int]
        zero_data: bool
        random_data: bool
        input_data_file: str

    name: str
    batch_size: int
    inputs: Mapping[str, Input]
    count: int

class ModelResponseCache(Message):
    enable: bool

class ModelTransactionPolicy(Message):
    decoupled: bool

class ModelConfig(Message):
    name: str
    platform: str
    backend: str
    max_batch_size: int
    version_policy: ModelVersionPolicy
    input: _Messages[ModelInput]
    output: _Messages[ModelOutput]
    batch_input: _Messages[BatchInput]
    batch_output: _Messages[BatchOutput]
    optimization: ModelOptimizationPolicy
    dynamic_batching: ModelDynamicBatching
    sequence_batching: ModelSequenceBatching
    ensemble_scheduling: ModelEnsembling
    instance_group: _Messages[ModelInstanceGroup]
    default_model_filename: str
    parameters: Mapping[str, ModelParameter]
    model_warmup: _Messages[ModelWarmup]
    model_transaction_policy: ModelTransactionPolicy
    response_cache: ModelResponseCache
