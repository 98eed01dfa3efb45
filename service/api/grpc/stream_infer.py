"""ModelStreamInfer: requests and answers on one stream."""

from asyncio import Lock, Semaphore, TaskGroup, timeout
from collections.abc import Callable
from dataclasses import dataclass

from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelStreamInferResponse

from engines.model_config import ModelConfig
from service.api.classification import Classes, classify_outputs
from service.api.errors import GrpcFault
from service.api.grpc.calls import Call
from service.api.grpc.in_hand import InHand
from service.api.grpc.infer import Understanding
from service.api.grpc.infer_messages import fill_response
from service.api.grpc.line import Line, Place
from service.api.grpc.wire import parse
from service.api.v2_text_stream import open_text
from service.errors import InvalidRequestError, NotFoundError, SlowReaderError
from service.gateway import Gateway
from service.types import InferRequest, InferResponse, Responses

MOST_IN_HAND = 128
"""Requests of one stream that may run at once; the next is not read before one of them is answered."""
SLOWEST_READER = 60.0
"""Seconds that the caller may leave an answer lying."""

Told = Callable[[Call, Exception], GrpcFault]
"""How an error is told."""


class _UnreadError(SlowReaderError):
    """The stream itself is not read: nothing more can be told on it."""


class StreamInfer:
    """Answers the requests of a stream as they come, each any number of times. An error is the answer to its request,
    and ends nothing else, unless the metadata `triton_grpc_error` is true: then it is the status of the call.

    Requests run at once, but those of one sequence one after another. Answers come as they are there, but those of
    models that give exactly one in the order of the requests. Models that generate text are asked as
    `service.api.v2_text_stream` says.
    """

    def __init__(self, gateway: Gateway, understand: Understanding, in_hand: InHand, told: Told) -> None:
        self._gateway = gateway
        self._understand = understand
        self._in_hand = in_hand
        self._told = told

    async def __call__(self, call: Call) -> None:
        """Returns when all is answered after the caller's last request. Raises `BatchyardError`."""
        stream = _Stream(self._gateway, self._understand, self._told, call)
        try:
            async with TaskGroup() as group:
                while True:
                    await stream.places.acquire()
                    body = await self._in_hand.read(call.context)
                    if not isinstance(body, bytes):
                        break
                    group.create_task(stream.answer(body))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if body is None:
            self._in_hand.check_open()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request of a stream. `turn`: None where its answers need not wait for those before it. `empty_end`: its end is
    told, even where it comes without outputs."""

    request: InferRequest
    classes: Classes
    turn: Place | None
    empty_end: bool


class _Stream:
    """One call. `places`: for requests in hand."""

    def __init__(self, gateway: Gateway, understand: Understanding, told: Told, call: Call) -> None:
        self.places = Semaphore(MOST_IN_HAND)
        self._gateway = gateway
        self._understand = understand
        self._told = told
        self._call = call
        self._strict = call.headers.get(b"triton_grpc_error") == b"true"
        self._writing = Lock()
        self._line = Line()

    async def answer(self, body: bytes) -> None:
        """Until its first wait nothing of a later request has happened: so places in line are in order."""
        message = ModelInferRequest()
        turn = None
        try:
            parse(body, message)
            config = self._config(message)
            generates = config is not None and config.generation is not None
            decoupled = generates or (config is not None and config.decoupled)
            turn = None if decoupled else self._line.join(None)
            await (self._generate(message) if generates else self._infer(message, turn))
        except Exception as error:
            if self._strict or isinstance(error, _UnreadError):
                raise
            await self._fail(message, error, turn)
        finally:
            if turn is not None:
                turn.leave()
            self.places.release()

    def _config(self, message: ModelInferRequest) -> ModelConfig | None:
        """Of what may answer; None where nothing is known of it, or the caller may not know of it."""
        if not self._call.tenant.may_ask(message.model_name):
            return None
        try:
            info = self._gateway.model(message.model_name, message.model_version)
            return self._gateway.model(info.variants[0]).config if info.variants else info.config
        except NotFoundError:
            return None

    async def _generate(self, message: ModelInferRequest) -> None:
        request, classes = self._understand.text(message, self._call, self._gateway.clock())
        await self._pass_on(await open_text(self._gateway, request), _Asked(request, classes, None, False))

    async def _infer(self, message: ModelInferRequest, turn: Place | None) -> None:
        request, classes = self._understand.tensors(message, self._call, self._gateway.clock())
        empty_end = turn is None and message.parameters["triton_enable_empty_final_response"].bool_param
        asked = _Asked(request, classes, turn, empty_end)
        if request.sequence is None:
            return await self._pass_on(await self._gateway.stream(request), asked)
        step = self._line.join((request.model, request.sequence.id))
        try:
            await step.turn()
            return await self._pass_on(await self._gateway.stream(request), asked)
        finally:
            step.leave()

    async def _pass_on(self, responses: Responses, asked: "_Asked") -> None:
        request = asked.request
        try:
            while (response := await responses.read()) is not None:
                if response.outputs or asked.turn is not None:
                    if asked.classes:
                        signature = self._gateway.model(request.model, request.version).signature
                        classify_outputs(response, asked.classes, signature)
                    await self._tell(response, asked)
                elif asked.empty_end:
                    response.model, response.version = request.model, request.version
                    await self._tell(response, asked)
        finally:
            responses.close()

    async def _tell(self, response: InferResponse, asked: "_Asked") -> None:
        told = ModelStreamInferResponse()
        fill_response(told.infer_response, response, asked.request.id)
        told.infer_response.parameters["triton_final_response"].bool_param = response.final
        await self._write(told, asked.turn)

    async def _fail(self, message: ModelInferRequest, error: Exception, turn: Place | None) -> None:
        told = ModelStreamInferResponse(error_message=self._told(self._call, error).message)
        told.infer_response.id = message.id
        if not isinstance(error, InvalidRequestError | NotFoundError):
            told.infer_response.model_name = message.model_name
            told.infer_response.model_version = message.model_version
            told.infer_response.parameters["triton_final_response"].bool_param = True
        await self._write(told, turn)

    async def _write(self, told: ModelStreamInferResponse, turn: Place | None) -> None:
        if turn is not None:
            await turn.turn()
        async with self._writing:
            try:
                async with timeout(SLOWEST_READER):
                    await self._call.write(told)
            except TimeoutError:
                raise _UnreadError(f"an answer lay for {SLOWEST_READER:g} s and was not read") from None
