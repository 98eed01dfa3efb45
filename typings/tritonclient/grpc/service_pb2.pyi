"""Triton's gRPC messages. Generated from their descriptor."""

from abc import ABCMeta
from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence
from typing import Any, TypeVar

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from tritonclient.grpc.model_config_pb2 import ModelConfig

DESCRIPTOR: FileDescriptor
_M = TypeVar("_M", bound=Message)
_V = TypeVar("_V")

class _Messages(MutableSequence[_M], metaclass=ABCMeta):
    def add(self, **fields: Any) -> _M: ...

class _Map(MutableMapping[str, _V], metaclass=ABCMeta): ...
class ServerLiveRequest(Message): ...

class ServerLiveResponse(Message):
    live: bool
    def __init__(self, *, live: bool = ...) -> None: ...

class ServerReadyRequest(Message): ...

class ServerReadyResponse(Message):
    ready: bool
    def __init__(self, *, ready: bool = ...) -> None: ...

class ModelReadyRequest(Message):
    name: str
    version: str
    def __init__(self, *, name: str = ..., version: str = ...) -> None: ...

class ModelReadyResponse(Message):
    ready: bool
    def __init__(self, *, ready: bool = ...) -> None: ...

class ServerMetadataRequest(Message): ...

class ServerMetadataResponse(Message):
    name: str
    version: str
    extensions: MutableSequence[str]
    def __init__(self, *, name: str = ..., version: str = ..., extensions: Iterable[str] = ...) -> None: ...

class ModelMetadataRequest(Message):
    name: str
    version: str
    def __init__(self, *, name: str = ..., version: str = ...) -> None: ...

class ModelMetadataResponse(Message):
    class TensorMetadata(Message):
        name: str
        datatype: str
        shape: MutableSequence[int]
        def __init__(self, *, name: str = ..., datatype: str = ..., shape: Iterable[int] = ...) -> None: ...

    name: str
    versions: MutableSequence[str]
    platform: str
    inputs: _Messages[ModelMetadataResponse.TensorMetadata]
    outputs: _Messages[ModelMetadataResponse.TensorMetadata]
    def __init__(
        self,
        *,
        name: str = ...,
        versions: Iterable[str] = ...,
        platform: str = ...,
        inputs: Iterable[ModelMetadataResponse.TensorMetadata] = ...,
        outputs: Iterable[ModelMetadataResponse.TensorMetadata] = ...,
    ) -> None: ...

class InferParameter(Message):
    bool_param: bool
    int64_param: int
    string_param: str
    double_param: float
    uint64_param: int
    def __init__(
        self,
        *,
        bool_param: bool = ...,
        int64_param: int = ...,
        string_param: str = ...,
        double_param: float = ...,
        uint64_param: int = ...,
    ) -> None: ...

class InferTensorContents(Message):
    bool_contents: MutableSequence[bool]
    int_contents: MutableSequence[int]
    int64_contents: MutableSequence[int]
    uint_contents: MutableSequence[int]
    uint64_contents: MutableSequence[int]
    fp32_contents: MutableSequence[float]
    fp64_contents: MutableSequence[float]
    bytes_contents: MutableSequence[bytes]
    def __init__(
        self,
        *,
        bool_contents: Iterable[bool] = ...,
        int_contents: Iterable[int] = ...,
        int64_contents: Iterable[int] = ...,
        uint_contents: Iterable[int] = ...,
        uint64_contents: Iterable[int] = ...,
        fp32_contents: Iterable[float] = ...,
        fp64_contents: Iterable[float] = ...,
        bytes_contents: Iterable[bytes] = ...,
    ) -> None: ...

class ModelInferRequest(Message):
    class InferInputTensor(Message):
        name: str
        datatype: str
        shape: MutableSequence[int]
        parameters: _Map[InferParameter]
        contents: InferTensorContents
        def __init__(
            self,
            *,
            name: str = ...,
            datatype: str = ...,
            shape: Iterable[int] = ...,
            parameters: Mapping[str, InferParameter] = ...,
            contents: InferTensorContents = ...,
        ) -> None: ...

    class InferRequestedOutputTensor(Message):
        name: str
        parameters: _Map[InferParameter]
        def __init__(self, *, name: str = ..., parameters: Mapping[str, InferParameter] = ...) -> None: ...

    model_name: str
    model_version: str
    id: str
    parameters: _Map[InferParameter]
    inputs: _Messages[ModelInferRequest.InferInputTensor]
    outputs: _Messages[ModelInferRequest.InferRequestedOutputTensor]
    raw_input_contents: MutableSequence[bytes]
    def __init__(
        self,
        *,
        model_name: str = ...,
        model_version: str = ...,
        id: str = ...,
        parameters: Mapping[str, InferParameter] = ...,
        inputs: Iterable[ModelInferRequest.InferInputTensor] = ...,
        outputs: Iterable[ModelInferRequest.InferRequestedOutputTensor] = ...,
        raw_input_contents: Iterable[bytes] = ...,
    ) -> None: ...

class ModelInferResponse(Message):
    class InferOutputTensor(Message):
        name: str
        datatype: str
        shape: MutableSequence[int]
        parameters: _Map[InferParameter]
        contents: InferTensorContents
        def __init__(
            self,
            *,
            name: str = ...,
            datatype: str = ...,
            shape: Iterable[int] = ...,
            parameters: Mapping[str, InferParameter] = ...,
            contents: InferTensorContents = ...,
        ) -> None: ...

    model_name: str
    model_version: str
    id: str
    parameters: _Map[InferParameter]
    outputs: _Messages[ModelInferResponse.InferOutputTensor]
    raw_output_contents: MutableSequence[bytes]
    def __init__(
        self,
        *,
        model_name: str = ...,
        model_version: str = ...,
        id: str = ...,
        parameters: Mapping[str, InferParameter] = ...,
        outputs: Iterable[ModelInferResponse.InferOutputTensor] = ...,
        raw_output_contents: Iterable[bytes] = ...,
    ) -> None: ...

class ModelStreamInferResponse(Message):
    error_message: str
    infer_response: ModelInferResponse
    def __init__(self, *, error_message: str = ..., infer_response: ModelInferResponse = ...) -> None: ...

class ModelConfigRequest(Message):
    name: str
    version: str
    def __init__(self, *, name: str = ..., version: str = ...) -> None: ...

class ModelConfigResponse(Message):
    config: ModelConfig
    def __init__(self, *, config: ModelConfig = ...) -> None: ...

class ModelStatisticsRequest(Message):
    name: str
    version: str
    def __init__(self, *, name: str = ..., version: str = ...) -> None: ...

class StatisticDuration(Message):
    count: int
    ns: int
    def __init__(self, *, count: int = ..., ns: int = ...) -> None: ...

class InferStatistics(Message):
    success: StatisticDuration
    fail: StatisticDuration
    queue: StatisticDuration
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration
    cache_hit: StatisticDuration
    cache_miss: StatisticDuration
    def __init__(
        self,
        *,
        success: StatisticDuration = ...,
        fail: StatisticDuration = ...,
        queue: StatisticDuration = ...,
        compute_input: StatisticDuration = ...,
        compute_infer: StatisticDuration = ...,
        compute_output: StatisticDuration = ...,
        cache_hit: StatisticDuration = ...,
        cache_miss: StatisticDuration = ...,
    ) -> None: ...

class InferResponseStatistics(Message):
    compute_infer: StatisticDuration
    compute_output: StatisticDuration
    success: StatisticDuration
    fail: StatisticDuration
    empty_response: StatisticDuration
    cancel: StatisticDuration
    def __init__(
        self,
        *,
        compute_infer: StatisticDuration = ...,
        compute_output: StatisticDuration = ...,
        success: StatisticDuration = ...,
        fail: StatisticDuration = ...,
        empty_response: StatisticDuration = ...,
        cancel: StatisticDuration = ...,
    ) -> None: ...

class InferBatchStatistics(Message):
    batch_size: int
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration
    def __init__(
        self,
        *,
        batch_size: int = ...,
        compute_input: StatisticDuration = ...,
        compute_infer: StatisticDuration = ...,
        compute_output: StatisticDuration = ...,
    ) -> None: ...

class MemoryUsage(Message):
    type: str
    id: int
    byte_size: int
    def __init__(self, *, type: str = ..., id: int = ..., byte_size: int = ...) -> None: ...

class ModelStatistics(Message):
    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferStatistics
    batch_stats: _Messages[InferBatchStatistics]
    memory_usage: _Messages[MemoryUsage]
    response_stats: _Map[InferResponseStatistics]
    def __init__(
        self,
        *,
        name: str = ...,
        version: str = ...,
        last_inference: int = ...,
        inference_count: int = ...,
        execution_count: int = ...,
        inference_stats: InferStatistics = ...,
        batch_stats: Iterable[InferBatchStatistics] = ...,
        memory_usage: Iterable[MemoryUsage] = ...,
        response_stats: Mapping[str, InferResponseStatistics] = ...,
    ) -> None: ...

class ModelStatisticsResponse(Message):
    model_stats: _Messages[ModelStatistics]
    def __init__(self, *, model_stats: Iterable[ModelStatistics] = ...) -> None: ...

class ModelRepositoryParameter(Message):
    bool_param: bool
    int64_param: int
    string_param: str
    bytes_param: bytes
    def __init__(
        self, *, bool_param: bool = ..., int64_param: int = ..., string_param: str = ..., bytes_param: bytes = ...
    ) -> None: ...

class RepositoryIndexRequest(Message):
    repository_name: str
    ready: bool
    def __init__(self, *, repository_name: str = ..., ready: bool = ...) -> None: ...

class RepositoryIndexResponse(Message):
    class ModelIndex(Message):
        name: str
        version: str
        state: str
        reason: str
        def __init__(self, *, name: str = ..., version: str = ..., state: str = ..., reason: str = ...) -> None: ...

    models: _Messages[RepositoryIndexResponse.ModelIndex]
    def __init__(self, *, models: Iterable[RepositoryIndexResponse.ModelIndex] = ...) -> None: ...

class RepositoryModelLoadRequest(Message):
    repository_name: str
    model_name: str
    parameters: _Map[ModelRepositoryParameter]
    def __init__(
        self,
        *,
        repository_name: str = ...,
        model_name: str = ...,
        parameters: Mapping[str, ModelRepositoryParameter] = ...,
    ) -> None: ...

class RepositoryModelLoadResponse(Message): ...

class RepositoryModelUnloadRequest(Message):
    repository_name: str
    model_name: str
    parameters: _Map[ModelRepositoryParameter]
    def __init__(
        self,
        *,
        repository_name: str = ...,
        model_name: str = ...,
        parameters: Mapping[str, ModelRepositoryParameter] = ...,
    ) -> None: ...

class RepositoryModelUnloadResponse(Message): ...

class SystemSharedMemoryStatusRequest(Message):
    name: str
    def __init__(self, *, name: str = ...) -> None: ...

class SystemSharedMemoryStatusResponse(Message):
    class RegionStatus(Message):
        name: str
        key: str
        offset: int
        byte_size: int
        def __init__(self, *, name: str = ..., key: str = ..., offset: int = ..., byte_size: int = ...) -> None: ...

    regions: _Map[SystemSharedMemoryStatusResponse.RegionStatus]
    def __init__(self, *, regions: Mapping[str, SystemSharedMemoryStatusResponse.RegionStatus] = ...) -> None: ...

class SystemSharedMemoryRegisterRequest(Message):
    name: str
    key: str
    offset: int
    byte_size: int
    def __init__(self, *, name: str = ..., key: str = ..., offset: int = ..., byte_size: int = ...) -> None: ...

class SystemSharedMemoryRegisterResponse(Message): ...

class SystemSharedMemoryUnregisterRequest(Message):
    name: str
    def __init__(self, *, name: str = ...) -> None: ...

class SystemSharedMemoryUnregisterResponse(Message): ...

class CudaSharedMemoryStatusRequest(Message):
    name: str
    def __init__(self, *, name: str = ...) -> None: ...

class CudaSharedMemoryStatusResponse(Message):
    class RegionStatus(Message):
        name: str
        device_id: int
        byte_size: int
        def __init__(self, *, name: str = ..., device_id: int = ..., byte_size: int = ...) -> None: ...

    regions: _Map[CudaSharedMemoryStatusResponse.RegionStatus]
    def __init__(self, *, regions: Mapping[str, CudaSharedMemoryStatusResponse.RegionStatus] = ...) -> None: ...

class CudaSharedMemoryRegisterRequest(Message):
    name: str
    raw_handle: bytes
    device_id: int
    byte_size: int
    def __init__(
        self, *, name: str = ..., raw_handle: bytes = ..., device_id: int = ..., byte_size: int = ...
    ) -> None: ...

class CudaSharedMemoryRegisterResponse(Message): ...

class CudaSharedMemoryUnregisterRequest(Message):
    name: str
    def __init__(self, *, name: str = ...) -> None: ...

class CudaSharedMemoryUnregisterResponse(Message): ...

class TraceSettingRequest(Message):
    class SettingValue(Message):
        value: MutableSequence[str]
        def __init__(self, *, value: Iterable[str] = ...) -> None: ...

    settings: _Map[TraceSettingRequest.SettingValue]
    model_name: str
    def __init__(
        self, *, settings: Mapping[str, TraceSettingRequest.SettingValue] = ..., model_name: str = ...
    ) -> None: ...

class TraceSettingResponse(Message):
    class SettingValue(Message):
        value: MutableSequence[str]
        def __init__(self, *, value: Iterable[str] = ...) -> None: ...

    settings: _Map[TraceSettingResponse.SettingValue]
    def __init__(self, *, settings: Mapping[str, TraceSettingResponse.SettingValue] = ...) -> None: ...

class LogSettingsRequest(Message):
    class SettingValue(Message):
        bool_param: bool
        uint32_param: int
        string_param: str
        def __init__(self, *, bool_param: bool = ..., uint32_param: int = ..., string_param: str = ...) -> None: ...

    settings: _Map[LogSettingsRequest.SettingValue]
    def __init__(self, *, settings: Mapping[str, LogSettingsRequest.SettingValue] = ...) -> None: ...

class LogSettingsResponse(Message):
    class SettingValue(Message):
        bool_param: bool
        uint32_param: int
        string_param: str
        def __init__(self, *, bool_param: bool = ..., uint32_param: int = ..., string_param: str = ...) -> None: ...

    settings: _Map[LogSettingsResponse.SettingValue]
    def __init__(self, *, settings: Mapping[str, LogSettingsResponse.SettingValue] = ...) -> None: ...
