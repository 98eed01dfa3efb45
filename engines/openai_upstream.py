"""Any server with the OpenAI API as a generator: vLLM, SGLang, TensorRT-LLM, llama.cpp, another Batchyard.

Parameters of config.pbtxt:
    batchyard.upstream.url                  base of the API, such as http://127.0.0.1:8001/v1
    batchyard.upstream.model                the model's name there (this model's name)
    batchyard.upstream.api_key_env          NAME of the environment variable with the key (no key)
    batchyard.upstream.connect_timeout_ms   longest wait for a connection, in milliseconds (2000)
    batchyard.upstream.max_connections      connections open at once (batchyard.generation.max_sequences)
    batchyard.upstream.features             what that server can do, with commas between; "none" for nothing (all)
"""

import difflib
import ssl
from collections.abc import AsyncGenerator, Sequence
from functools import partial

import httpx
import msgspec
from msgspec import Struct

from engines.base import EngineOptions
from engines.errors import EngineError, ExecutionError, ModelLoadError
from engines.generation import Event, GenerationCall
from engines.openai_upstream_errors import LONGEST_BODY, ErrorMapper
from engines.openai_upstream_events import AnswerReader
from engines.openai_upstream_exchange import Exchange, Late
from engines.openai_upstream_lanes import KEEP_ALIVE, Lanes
from engines.openai_upstream_request import RequestWriter
from engines.openai_upstream_settings import UpstreamSettings, read_settings
from engines.openai_upstream_sse import EventParser

_OPEN_TIMEOUT = 10.0
"""Seconds for the list of models."""
_LONGEST_LIST = 2**22
_EVENTS = "text/event-stream"


class _Model(Struct):
    id: str
    owned_by: str | None = None


class _Models(Struct):
    data: list[_Model]


def open_remote(options: EngineOptions) -> "OpenAiUpstream":
    """Reads the parameters; connects to nothing yet. Raises `ModelLoadError`."""
    return OpenAiUpstream(options.config.name, read_settings(options.config))


class OpenAiUpstream:
    """Implements `RemoteGenerator`.

    The transport is used without httpx's client: that would keep the server's cookies and follow its redirects.
    """

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self.features = settings.features
        self._name = name
        self._settings = settings
        self._errors = ErrorMapper(settings.key, settings.key_env)
        self._writer = RequestWriter(settings.model, settings.defaults)
        limits = httpx.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE)
        make = partial(httpx.AsyncHTTPTransport, verify=_tls(settings.url), trust_env=False, limits=limits)
        self._lanes = Lanes(make, settings.max_connections)

    async def open(self) -> None:
        """Asks the server for its models; raises `ModelLoadError`."""
        try:
            owner = self._owner(await self._models())
        except EngineError as error:
            await self.close()
            if isinstance(error, ModelLoadError):
                raise
            raise ModelLoadError(
                f"model {self._name!r}: {error}; check that the server runs and that batchyard.upstream.url, "
                f"{self._settings.url!r}, is the base of its API"
            ) from error
        self._writer = RequestWriter(self._settings.model, self._settings.defaults, owner)

    async def _models(self) -> list[_Model]:
        exchange = Exchange(self._lanes, _OPEN_TIMEOUT)
        try:
            response = await self._send(exchange, "GET", "/models", b"")
            body = await self._body(exchange, _LONGEST_LIST)
        finally:
            await exchange.close()
        if response.status_code != httpx.codes.OK:
            raise self._errors.of_answer(response.status_code, response.headers, body)
        try:
            return msgspec.json.decode(body, type=_Models).data
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ExecutionError(f"what it says of its models is no list of models: {error}") from error

    def _owner(self, models: Sequence[_Model]) -> str:
        wanted = self._settings.model
        for model in models:
            if model.id == wanted:
                return model.owned_by or ""
        names = [model.id for model in models]
        nearest = difflib.get_close_matches(wanted, names, n=5, cutoff=0.0)
        raise ModelLoadError(
            f"model {self._name!r}: the upstream server at {self._settings.url} has no model {wanted!r}, but "
            f"{', '.join(map(repr, nearest)) or 'none at all'}; set batchyard.upstream.model to one of its names"
        )

    def stream(self, call: GenerationCall, timeout: float) -> AsyncGenerator[Sequence[Event], None]:
        """See `RemoteGenerator`. One pull reads one piece of the response, as much as has arrived."""
        return self._stream(call, Exchange(self._lanes, timeout))

    async def _stream(self, call: GenerationCall, exchange: Exchange) -> AsyncGenerator[Sequence[Event], None]:
        path, body = self._writer.write(call)
        parser, reader = EventParser(), AnswerReader(call, self._errors)
        try:
            await self._check(exchange, await self._send(exchange, "POST", path, body))
            while not reader.ended:
                piece = await self._read(exchange)
                events, failure = _take(piece, parser, reader)
                if events:
                    yield events
                if failure is not None:
                    raise failure
            await exchange.rest()
        finally:
            await exchange.close()

    async def close(self) -> None:
        """Closes all connections; answers on them end with `ExecutionError`."""
        await self._lanes.close()

    async def _send(self, exchange: Exchange, method: str, path: str, body: bytes) -> httpx.Response:
        if self._lanes.closed:
            raise ExecutionError("the connection to the upstream server is closed")
        headers = {"accept": _EVENTS, "accept-encoding": "identity", "content-type": "application/json"}
        if self._settings.key:
            headers["authorization"] = f"Bearer {self._settings.key}"
        if exchange.left is not None:
            headers["x-deadline-ms"] = str(max(1, int(1000 * exchange.left)))
        extensions = {"timeout": {"connect": self._settings.connect_timeout}}
        url = f"{self._settings.url}{path}"
        try:
            return await exchange.send(httpx.Request(method, url, headers=headers, content=body, extensions=extensions))
        except Late:
            raise self._errors.late(exchange.seconds) from None
        except httpx.HTTPError as error:
            raise self._errors.unreachable(error) from error

    async def _check(self, exchange: Exchange, response: httpx.Response) -> None:
        kind = response.headers.get("content-type", "")
        if response.status_code == httpx.codes.OK and kind.lower().startswith(_EVENTS):
            return
        body = await self._body(exchange, LONGEST_BODY)
        if response.status_code != httpx.codes.OK:
            raise self._errors.of_answer(response.status_code, response.headers, body)
        raise ExecutionError(f"the upstream server answered with {kind or 'no content type'}; it must stream {_EVENTS}")

    async def _body(self, exchange: Exchange, most: int) -> bytes:
        """The first `most` bytes, about."""
        body = b""
        while len(body) < most and (piece := await self._read(exchange)) is not None:
            body += piece
        return body

    async def _read(self, exchange: Exchange) -> bytes | None:
        try:
            return await exchange.read()
        except Late:
            raise self._errors.late(exchange.seconds) from None
        except httpx.HTTPError as error:
            raise self._errors.cut(error) from error


def _take(piece: bytes | None, parser: EventParser, reader: AnswerReader) -> tuple[Sequence[Event], EngineError | None]:
    """What a piece brings, and the error that it ends with, if any: what came before an error is not lost."""
    events: list[Event] = []
    try:
        for data in parser.feed(piece or b""):
            events += reader.read(data)
        if piece is None:
            events += reader.end()
    except EngineError as error:
        return events, error
    return events, None


def _tls(url: str) -> ssl.SSLContext:
    """The system's certificates, or those that SSL_CERT_FILE names."""
    return ssl.create_default_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
