"""The gRPC server: what is served, its limits, how it starts and stops."""

import asyncio
import socket
from collections.abc import Mapping

from grpc import aio

from service.access.accounts import Accounts
from service.api.grpc import shared_memory
from service.api.grpc.calls import Reception
from service.api.grpc.connections import GrpcConnections
from service.api.grpc.control import Control
from service.api.grpc.health import Health
from service.api.grpc.in_hand import InHand
from service.api.grpc.infer import Infer, Understanding
from service.api.grpc.methods import INFERENCE, Answer, health_service, inference_service
from service.api.grpc.operating import Operating
from service.api.grpc.statistics import Statistics
from service.api.grpc.stream_infer import StreamInfer
from service.api.headers import request_id_source
from service.api.limits import Limits
from service.api.manner import Manner
from service.api.operations import Operations
from service.gateway import Gateway

_LAST_WORDS = 1.0
"""Seconds in which calls that ran out of time are told so."""


class GrpcServer:
    """Serves the gateway's models. Used on one event loop. `accounts`: None lets anybody in."""

    def __init__(
        self,
        gateway: Gateway,
        limits: Limits,
        operations: Operations,
        manner: Manner,
        connections: GrpcConnections,
        accounts: Accounts | None = None,
    ) -> None:
        self._connections = connections
        self._in_hand = InHand()
        self._reception = Reception(gateway.clock, request_id_source(), manner.words, self._in_hand, accounts)
        understand = Understanding(gateway, limits)
        self._stream = StreamInfer(gateway, understand, self._in_hand, self._reception.fault)
        self._control = Control(gateway, operations, manner)
        self._answers = _answers(self._control, Operating(gateway, operations), gateway, understand)
        self._options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", limits.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            *connections.options(),
        ]
        self._server: aio.Server | None = None

    async def start(self, bound: socket.socket) -> None:
        """Takes calls at the address of a bound socket, which it closes. Raises `OSError` where it cannot."""
        server = aio.server(options=self._options)
        health = Health(("", INFERENCE), self._control.ready, self._in_hand)
        server.add_generic_rpc_handlers(
            (
                inference_service(self._reception, self._answers, self._stream),
                health_service(self._reception, health.check, health.watch),
            )
        )
        host, port = bound.getsockname()[:2]
        bound.close()
        try:
            self._connections.open(server, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(0, str(error)) from error
        await server.start()
        self._server = server

    async def stop(self, grace: float) -> None:
        """Refuses new calls and lets those in hand finish, for at most `grace` seconds; the rest is told so."""
        if self._server is None:
            return
        self._in_hand.close()
        await asyncio.gather(self._in_hand.finish(grace), self._in_hand.refuse())
        await self._server.stop(_LAST_WORDS)


def _answers(
    control: Control, operating: Operating, gateway: Gateway, understand: Understanding
) -> Mapping[str, Answer]:
    return {
        "ServerLive": control.server_live,
        "ServerReady": control.server_ready,
        "ServerMetadata": control.server_metadata,
        "ModelReady": control.model_ready,
        "ModelMetadata": control.model_metadata,
        "ModelConfig": control.model_config,
        "ModelInfer": Infer(gateway, understand),
        "ModelStatistics": Statistics(gateway),
        "RepositoryIndex": control.repository_index,
        "RepositoryModelLoad": operating.load,
        "RepositoryModelUnload": operating.unload,
        "TraceSetting": operating.trace,
        "LogSettings": operating.log,
        "SystemSharedMemoryStatus": shared_memory.system_status,
        "SystemSharedMemoryRegister": shared_memory.refuse,
        "SystemSharedMemoryUnregister": shared_memory.system_unregister,
        "CudaSharedMemoryStatus": shared_memory.cuda_status,
        "CudaSharedMemoryRegister": shared_memory.refuse,
        "CudaSharedMemoryUnregister": shared_memory.cuda_unregister,
    }
