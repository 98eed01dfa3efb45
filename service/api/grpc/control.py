"""What the server and its models are: health, metadata, configuration, the index of the repository."""

from tritonclient.grpc.service_pb2 import (
    ModelConfigRequest,
    ModelConfigResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerMetadataRequest,
    ServerMetadataResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)

from engines.config.shown import to_proto
from engines.tensor import Signature, TensorSpec
from service.access.account import check_may_ask
from service.api.grpc.calls import Call
from service.api.grpc.operating import refuse_repository
from service.api.grpc.parameters import check_version
from service.api.known import config_of, extensions, repository_models, server_ready
from service.api.manner import Manner
from service.api.operations import Operations
from service.api.v2_answers import index_entries
from service.errors import NotFoundError
from service.gateway import Gateway


class Control:
    """Answers from what the gateway knows of its models."""

    def __init__(self, gateway: Gateway, operations: Operations, manner: Manner) -> None:
        self._gateway = gateway
        self._stopping = operations.stopping
        self._manner = manner
        self._extensions = extensions(operations)

    def ready(self) -> bool:
        """See `server_ready`."""
        return server_ready(self._gateway, self._stopping)

    async def server_live(self, message: ServerLiveRequest, call: Call) -> ServerLiveResponse:
        """Always true: a server that is not alive does not answer."""
        return ServerLiveResponse(live=True)

    async def server_ready(self, message: ServerReadyRequest, call: Call) -> ServerReadyResponse:
        """See `ready`."""
        return ServerReadyResponse(ready=self.ready())

    async def model_ready(self, message: ModelReadyRequest, call: Call) -> ModelReadyResponse:
        """True where there is such a model that can answer, and the server is not about to stop."""
        check_version(message.version)
        check_may_ask(call.tenant, message.name)
        try:
            info = self._gateway.model(message.name, message.version)
        except NotFoundError:
            return ModelReadyResponse(ready=False)
        return ModelReadyResponse(ready=info.ready and not self._stopping.begun)

    async def server_metadata(self, message: ServerMetadataRequest, call: Call) -> ServerMetadataResponse:
        """Name, version and extensions."""
        manner = self._manner
        return ServerMetadataResponse(name=manner.name, version=manner.version, extensions=self._extensions)

    async def model_metadata(self, message: ModelMetadataRequest, call: Call) -> ModelMetadataResponse:
        """Versions, inputs and outputs."""
        check_version(message.version)
        check_may_ask(call.tenant, message.name)
        info = self._gateway.model(message.name, message.version)
        signature = info.signature
        return ModelMetadataResponse(
            name=info.name,
            versions=info.versions,
            platform=info.platform,
            inputs=[_tensor(spec, signature) for spec in signature.inputs],
            outputs=[_tensor(spec, signature) for spec in signature.outputs],
        )

    async def model_config(self, message: ModelConfigRequest, call: Call) -> ModelConfigResponse:
        """The model's config.pbtxt, complete."""
        check_version(message.version)
        check_may_ask(call.tenant, message.name)
        return ModelConfigResponse(config=to_proto(config_of(self._gateway, message.name, message.version)))

    async def repository_index(self, message: RepositoryIndexRequest, call: Call) -> RepositoryIndexResponse:
        """All models of the repository with their state, the unavailable ones with the reason."""
        refuse_repository(message.repository_name)
        reply = RepositoryIndexResponse()
        for model in repository_models(self._gateway, message.ready, call.tenant):
            for entry in index_entries(model):
                reply.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return reply


def _tensor(spec: TensorSpec, signature: Signature) -> ModelMetadataResponse.TensorMetadata:
    batch = [-1] if signature.max_batch_size else []
    return ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype.name, shape=[*batch, *spec.shape]
    )
