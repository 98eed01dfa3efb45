"""A model of another server, asked over the v2 gRPC protocol: gRPC's own channels, one connection each."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import Any, TypeVar

import grpc
from tritonclient.grpc import service_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from engines.calls import Question, Response
from engines.errors import (
    EngineError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
)
from engines.remote_model import Address
from engines.triton_errors import of_code
from engines.triton_grpc_messages import EMPTY_FINAL, config_of, read, write
from engines.triton_settings import TritonSettings

Answer = TypeVar("Answer")

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)
"""Each channel has a connection of its own, opens it again at once, and notices where it has silently gone."""
_RETRY_AFTER = "retry-after-ms"
_CODED = (("triton_grpc_error", "true"),)
"""Has Triton end a stream with a status where it would only send a message."""


class GrpcModel:
    """Implements `RemoteModel`. Probes have a connection to themselves, so that no answer stands in their way."""

    def __init__(self, settings: TritonSettings, address: Address) -> None:
        self._model, self._version = settings.model, settings.version
        self._headers = tuple((name.lower(), value) for name, value in settings.headers)
        self._channels = [_channel(settings, address) for _ in range(settings.connections + 1)]
        stubs = [GRPCInferenceServiceStub(channel) for channel in self._channels]
        self._probe = stubs[0]
        self._stubs = cycle(stubs[1:])

    async def infer(self, question: Question, seconds: float) -> Response:
        """See `RemoteModel`."""
        request = write(question, self._model, self._version, seconds)
        call = partial(next(self._stubs).ModelInfer, request, timeout=_bounded(seconds), metadata=self._headers)
        response = read(await _answer(call))
        response.final = True
        return response

    async def stream(self, question: Question, seconds: float) -> AsyncGenerator[Response, None]:
        """See `RemoteModel`: a ModelStreamInfer for this question alone."""
        request = write(question, self._model, self._version, seconds)
        request.parameters[EMPTY_FINAL].bool_param = True
        metadata = (*_CODED, *self._headers)
        try:
            call = next(self._stubs).ModelStreamInfer(timeout=_bounded(seconds), metadata=metadata)
        except grpc.aio.UsageError as error:
            raise _closed(error) from error
        try:
            with suppress(asyncio.InvalidStateError):  # it failed already: reading says how
                await _answer(partial(call.write, request))
                await _answer(call.done_writing)
            while (message := await _answer(call.read)) is not grpc.aio.EOF:
                if message.error_message:
                    raise ExecutionError(message.error_message)
                response = read(message.infer_response)
                yield response
                if response.final:
                    return
            yield Response()
        finally:
            call.cancel()

    async def ready(self, seconds: float) -> None:
        """See `RemoteModel`."""
        asked = service_pb2.ModelReadyRequest(name=self._model, version=self._version)
        answer = await _answer(partial(self._probe.ModelReady, asked, timeout=seconds, metadata=self._headers))
        if not answer.ready:
            raise EngineUnreachableError(f"model {self._model!r} is not ready there")

    async def config(self, seconds: float) -> ModelConfigProto:
        """See `RemoteModel`."""
        asked = service_pb2.ModelConfigRequest(name=self._model, version=self._version)
        bounds = {"timeout": seconds, "metadata": self._headers}
        try:
            found: ModelConfigProto = (await _answer(partial(self._probe.ModelConfig, asked, **bounds))).config
            return found
        except InvalidInputError:  # KServe's protocol, which Triton extends, has metadata only
            named = service_pb2.ModelMetadataRequest(name=self._model, version=self._version)
            return config_of(await _answer(partial(self._probe.ModelMetadata, named, **bounds)))

    async def close(self) -> None:
        """See `RemoteModel`."""
        for channel in self._channels:
            await channel.close()


def _channel(settings: TritonSettings, address: Address) -> Any:
    if not address.secure:
        return grpc.aio.insecure_channel(address.authority, options=_OPTIONS)
    named = (("grpc.ssl_target_name_override", address.server_name),) if address.server_name else ()
    credentials = grpc.ssl_channel_credentials(settings.certificates or None)
    return grpc.aio.secure_channel(address.authority, credentials, options=(*_OPTIONS, *named))


def _bounded(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


async def _answer(call: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await call()
    except grpc.aio.AioRpcError as error:
        raise _in_words(error) from error
    except grpc.aio.UsageError as error:
        raise _closed(error) from error
    except grpc.RpcError as error:
        raise ExecutionError(str(error)) from error


def _closed(error: Exception) -> EngineUnreachableError:
    return EngineUnreachableError(f"the connection was closed: {error}")


def _in_words(error: Any) -> EngineError:
    trailing = dict(error.trailing_metadata() or ())
    return of_code(error.code().name, error.details() or "", str(trailing.get(_RETRY_AFTER, "")))
