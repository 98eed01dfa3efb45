"""A model of another server, asked over the v2 REST protocol: aiohttp, connections that are kept alive."""

import math
import ssl
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import quote

import aiohttp
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.calls import Question, Response
from engines.errors import (
    EngineTimeoutError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
    InvalidOutputError,
)
from engines.remote_model import Address
from engines.triton_errors import of_status
from engines.triton_http_messages import config_of, config_of_metadata, error_of, read, write
from engines.triton_settings import TritonSettings

_OK = 200
_KEEP_ALIVE = 4.0
"""Seconds: less than the 5 after which uvicorn closes an idle connection, perhaps as we write into it."""
_HEADER_LENGTH = "Inference-Header-Content-Length"
_RETRY_AFTER = "retry-after-ms"


class HttpModel:
    """Implements `RemoteModel`, but for streams. Probes have a connection to themselves."""

    def __init__(self, settings: TritonSettings, address: Address) -> None:
        path = f"/v2/models/{quote(settings.model, safe='')}"
        if settings.version:
            path += f"/versions/{settings.version}"
        self._base = f"{address}{path}"
        self._server_name = address.server_name or None
        self._headers = dict(settings.headers)
        if address.server_name:
            self._headers["Host"] = f"{address.server_name}:{address.port}"
        trusted = _trusted(settings.certificates) if address.secure else False
        self._session = _session(trusted, settings.connections)
        self._probe = _session(trusted, 1)

    async def infer(self, question: Question, seconds: float) -> Response:
        """See `RemoteModel`."""
        body, length = write(question, seconds)
        headers = {_HEADER_LENGTH: str(length), "Content-Type": "application/octet-stream"}
        answer, found = await self._ask(self._session, "POST", "/infer", seconds, body, headers)
        said = found.get(_HEADER_LENGTH)
        if said is not None and not said.isdigit():
            raise InvalidOutputError(f"the other server's {_HEADER_LENGTH} is {said!r}, no length")
        return read(answer, None if said is None else int(said))

    async def stream(self, question: Question, seconds: float) -> AsyncGenerator[Response, None]:
        """Not over HTTP: the protocol has one answer a request."""
        raise InvalidInputError("a stream of answers needs gRPC; use grpc:// addresses in batchyard.triton.urls")
        yield Response()

    async def ready(self, seconds: float) -> None:
        """See `RemoteModel`."""
        try:
            await self._ask(self._probe, "GET", "/ready", seconds)
        except InvalidInputError:
            raise EngineUnreachableError("the model is not ready there") from None

    async def config(self, seconds: float) -> ModelConfigProto:
        """See `RemoteModel`."""
        try:
            return config_of((await self._ask(self._probe, "GET", "/config", seconds))[0])
        except (InvalidInputError, EngineUnreachableError):
            # KServe's protocol, which Triton extends, has metadata only
            return config_of_metadata((await self._ask(self._probe, "GET", "", seconds))[0])

    async def close(self) -> None:
        """See `RemoteModel`."""
        await self._session.close()
        await self._probe.close()

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        seconds: float,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[bytes, Mapping[str, str]]:
        """The body and the headers of an answer that is a 200; raises `EngineError` for any other."""
        limit = aiohttp.ClientTimeout(total=seconds if math.isfinite(seconds) else None)
        try:
            async with session.request(
                method,
                self._base + path,
                data=body or None,
                headers={**self._headers, **(headers or {})},
                timeout=limit,
                allow_redirects=False,
                server_hostname=self._server_name,
            ) as answer:
                content = await answer.read()
        except TimeoutError as error:
            raise EngineTimeoutError(f"no answer within {seconds:.3g} s") from error
        except RuntimeError as error:
            if not session.closed:
                raise
            raise EngineUnreachableError(f"the connection was closed: {error}") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise EngineUnreachableError(f"{type(error).__name__}: {error}") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise ExecutionError(f"{type(error).__name__}: {error}") from error
        if answer.status != _OK:
            raise of_status(answer.status, error_of(content), answer.headers.get(_RETRY_AFTER, ""))
        return content, answer.headers


def _trusted(certificates: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificates.decode("ascii", "replace") or None)


def _session(trusted: ssl.SSLContext | bool, connections: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=connections, ssl=trusted, keepalive_timeout=_KEEP_ALIVE)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
