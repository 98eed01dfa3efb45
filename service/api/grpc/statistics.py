"""ModelStatistics."""

from google.protobuf.json_format import ParseDict
from tritonclient.grpc.service_pb2 import ModelStatistics, ModelStatisticsRequest, ModelStatisticsResponse

from service.api.grpc.calls import Call
from service.api.grpc.parameters import check_version
from service.api.statistics_form import told
from service.errors import NotFoundError
from service.gateway import Gateway


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
        return ModelStatisticsResponse(model_stats=[ParseDict(told(model), ModelStatistics()) for model in found])

    def _unknown(self, message: ModelStatisticsRequest) -> str:
        if any(model.name == message.name for model in self._gateway.models()):
            return f"requested model version is not available for model '{message.name}'"
        return f"requested model '{message.name}' is not available"
