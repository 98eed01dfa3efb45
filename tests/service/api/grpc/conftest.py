"""A small gateway behind a real gRPC server."""

from collections.abc import Iterator

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2_grpc

from tests.service.api.grpc.gateways import GrpcGateway
from tests.service.api.grpc.serving import GrpcAddress, serve_grpc


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> GrpcGateway:
    return GrpcGateway(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def served(gateway: GrpcGateway) -> Iterator[GrpcAddress]:
    with serve_grpc(gateway) as address:
        yield address


@pytest.fixture
def client(served: GrpcAddress) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.url) as client:
        yield client


@pytest.fixture
def stub(served: GrpcAddress) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    """What callers have who know the protocol alone."""
    with grpc.insecure_channel(served.url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)
