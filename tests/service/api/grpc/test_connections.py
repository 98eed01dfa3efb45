"""What a gRPC connection may take."""

from contextlib import ExitStack

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.api.grpc.connections import GrpcConnections
from service.limit_settings import DEFAULT_LIMITS
from tests.service.api.grpc.gateways import GrpcGateway
from tests.service.api.grpc.serving import serve_grpc

LIMITS = DEFAULT_LIMITS.model_copy(update={"max_header_bytes": 4000, "max_headers": 10, "max_connections": 2})
FEW = GrpcConnections(100, LIMITS)
LIVE = service_pb2.ServerLiveRequest()


def test_headers_are_bounded(gateway: GrpcGateway) -> None:
    with serve_grpc(gateway, connections=FEW) as address, grpc.insecure_channel(address.url) as channel:
        ask = service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive
        assert ask(LIVE, metadata=[("x-more", "v" * 3000)], timeout=20).live
        with pytest.raises(grpc.RpcError) as caught:
            ask(LIVE, metadata=[("x-more", "v" * 5000)], timeout=20)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ask(LIVE, timeout=20).live


def test_connections_are_bounded(gateway: GrpcGateway) -> None:
    own = (("grpc.use_local_subchannel_pool", 1),)
    with serve_grpc(gateway, connections=FEW) as address, ExitStack() as held:
        channels = [held.enter_context(grpc.insecure_channel(address.url, own)) for _ in range(3)]
        asks = [service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive for channel in channels]
        assert [ask(LIVE, timeout=20).live for ask in asks[:2]] == [True, True]
        with pytest.raises(grpc.RpcError) as caught:
            asks[2](LIVE, timeout=1)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        channels[0].close()
        assert asks[2](LIVE, timeout=20, wait_for_ready=True).live
