"""ModelStatistics."""

from tritonclient.grpc.service_pb2 import (
    InferBatchStatistics,
    InferResponseStatistics,
    InferStatistics,
    ModelStatistics,
    ModelStatisticsRequest,
    ModelStatisticsResponse,
    StatisticDuration,
)

from service.api.grpc.calls import Call
from service.api.grpc.parameters import check_version
from service.errors import NotFoundError
from service.gateway import Gateway
from service.telemetry import statistics
from service.telemetry.statistics import BatchStatistics, Duration, ResponseStatistics


class Statistics:
    """Tells what the models counted."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, message: ModelStatisticsRequest, call: Call) -> ModelStatisticsResponse:
        """Of one version, of all versions of a model, or of all models; raises `NotFoundError`."""
        check_version(message.version)
        try:
            found = self._gateway.statistics(message.name, message.version)
        except NotFoundError as error:
            raise error.as_triton(self._unknown(message)) from None
        return ModelStatisticsResponse(model_stats=[_model(model) for model in found])

    def _unknown(self, message: ModelStatisticsRequest) -> str:
        if any(model.name == message.name for model in self._gateway.models()):
            return f"requested model version is not available for model '{message.name}'"
        return f"requested model '{message.name}' is not available"


def _model(model: statistics.ModelStatistics) -> ModelStatistics:
    return ModelStatistics(
        name=model.name,
        version=model.version,
        last_inference=model.last_inference,
        inference_count=model.inference_count,
        execution_count=model.execution_count,
        inference_stats=_requests(model),
        batch_stats=[_batch(batch) for batch in model.batches.values()],
        response_stats={number: _response(responses) for number, responses in model.responses.items()},
    )


def _requests(model: statistics.ModelStatistics) -> InferStatistics:
    return InferStatistics(
        success=_duration(model.success),
        fail=_duration(model.fail),
        queue=_duration(model.queue),
        compute_input=_duration(model.compute_input),
        compute_infer=_duration(model.compute_infer),
        compute_output=_duration(model.compute_output),
        cache_hit=_duration(model.cache_hit),
        cache_miss=_duration(model.cache_miss),
    )


def _batch(batch: BatchStatistics) -> InferBatchStatistics:
    return InferBatchStatistics(
        batch_size=batch.batch_size,
        compute_input=_duration(batch.compute_input),
        compute_infer=_duration(batch.compute_infer),
        compute_output=_duration(batch.compute_output),
    )


def _response(responses: ResponseStatistics) -> InferResponseStatistics:
    return InferResponseStatistics(
        compute_infer=_duration(responses.compute_infer),
        compute_output=_duration(responses.compute_output),
        success=_duration(responses.success),
        fail=_duration(responses.fail),
        empty_response=_duration(responses.empty_response),
        cancel=_duration(responses.cancel),
    )


def _duration(duration: Duration) -> StatisticDuration:
    return StatisticDuration(count=duration.count, ns=duration.ns)
