"""POST /v2/models/{model}[/versions/{version}]/generate and /generate_stream: Triton's generate extension."""

from collections.abc import Sequence
from functools import partial

from orjson import dumps

from engines.generation import Delta, Event
from service.api.answer_stream import stream_answers
from service.api.body import check_json, read_body
from service.api.collecting import collect
from service.api.deadlines import deadline_of, stream_deadline_of
from service.api.disconnect import while_connected
from service.api.endpoint import Call
from service.api.errors import OK
from service.api.event_stream import EventStream
from service.api.generation_body import read_generation_body
from service.api.generation_headers import head_of
from service.api.generation_stream import stream_generation
from service.api.headers import answer_headers
from service.api.hints import hints_of
from service.api.known import ready_signature
from service.api.limits import Limits
from service.api.reply import JSON_TYPE, Reply
from service.api.v2_generate_messages import GenerateAsked, decode_generate
from service.api.v2_generate_tensors import decode_fields, encode_fields
from service.api.v2_parameters import settle
from service.api.v2_text_stream import generates
from service.errors import InvalidRequestError
from service.gateway import Gateway
from service.generating import GenerateRequest, Generation
from service.types import InferRequest, InferResponse

_NOT_ONE = (
    "generate expects model to produce exactly 1 response, use generate stream for model that generates various "
    "number of responses"
)


class Generate:
    """Goes on with a text, and answers with all of it; a model that takes tensors gives its one answer."""

    def __init__(self, gateway: Gateway, limits: Limits) -> None:
        self._gateway = gateway
        self._limits = limits

    async def __call__(self, call: Call) -> Reply:
        """Raises `BatchyardError`."""
        gateway, limits = self._gateway, self._limits
        arrived = gateway.clock()
        if _takes_tensors(gateway, call):
            wanted = await _tensors(gateway, limits, call, arrived)
            return await while_connected(_only_answer(gateway, wanted), call.receive, limits.disconnect_delay)
        asked = decode_generate(await read_generation_body(call, limits, "text_input"))
        if asked.stream:
            raise InvalidRequestError("stream is true; ask /generate_stream for a stream", "stream")
        timeout = gateway.timeout_of(call.path["model"]) or limits.generation_timeout
        deadline = deadline_of(arrived, call.headers, asked.timing, timeout)
        request = _request(call, asked, deadline)
        work = collect(gateway.generate(request), 1)
        whole = await while_connected(work, call.receive, limits.disconnect_delay)
        body = b"".join((_opening(whole.generation, asked), dumps(whole.answers[0].text), b"}"))
        return Reply(OK, body, [JSON_TYPE, *head_of(request.hints)(whole.generation)])


class GenerateStream:
    """Goes on with a text, and answers piece by piece; a model that takes tensors answer by answer."""

    def __init__(self, gateway: Gateway, limits: Limits) -> None:
        self._gateway = gateway
        self._limits = limits

    async def __call__(self, call: Call) -> EventStream:
        """Raises `BatchyardError`."""
        gateway, limits = self._gateway, self._limits
        arrived = gateway.clock()
        if _takes_tensors(gateway, call):
            wanted = await _tensors(gateway, limits, call, arrived)
            ask = partial(gateway.stream, wanted)
            answers = partial(stream_answers, ask, lambda answer: encode_fields(answer, wanted.id))
            return EventStream(answers, call.receive, limits)
        asked = decode_generate(await read_generation_body(call, limits, "text_input"))
        if asked.stream is False:
            raise InvalidRequestError("stream is false; ask /generate for a whole answer", "stream")
        timeout = gateway.timeout_of(call.path["model"]) or limits.generation_timeout
        deadline = stream_deadline_of(arrived, call.headers, asked.timing, timeout)
        request = _request(call, asked, deadline)

        def pieces(generation: Generation) -> Pieces:
            return Pieces(_opening(generation, asked))

        generate = partial(gateway.generate, request)
        work = partial(stream_generation, generate, pieces, head_of(request.hints))
        return EventStream(work, call.receive, limits)


def _takes_tensors(gateway: Gateway, call: Call) -> bool:
    """Is the model asked no generator of text? Raises `NotFoundError`."""
    model = call.path["model"]
    return bool(gateway.model(model).signature.inputs) and not generates(gateway, model)


async def _tensors(gateway: Gateway, limits: Limits, call: Call, arrived: float) -> InferRequest:
    model, version = call.path["model"], call.path.get("version", "")
    signature = ready_signature(gateway, model, version)
    body = await read_body(call.receive, call.headers, limits)
    check_json(len(body), limits)
    request = decode_fields(model, version, body, signature)
    timeout = gateway.timeout_of(model) or limits.default_timeout
    settle(request, call.headers, arrived, timeout, call.tenant, limits.forward)
    return request


async def _only_answer(gateway: Gateway, request: InferRequest) -> Reply:
    """Raises `InvalidRequestError` where there is not exactly one."""
    responses = await gateway.stream(request)
    answers: list[InferResponse] = []
    try:
        while len(answers) < 2 and (response := await responses.read()) is not None:
            answers += [response] if response.outputs else []
    finally:
        responses.close()
    if len(answers) != 1:
        found = "several answers" if answers else "no answer"
        raise InvalidRequestError(f"model {request.model!r} gave {found}; ask /generate_stream").as_triton(_NOT_ONE)
    return Reply(OK, encode_fields(answers[0], request.id), [JSON_TYPE, *answer_headers(answers[0])])


def _request(call: Call, asked: GenerateAsked, deadline: float) -> GenerateRequest:
    hints = hints_of(call.headers, asked.min_quality, call.tenant)
    version = call.path.get("version", "")
    return GenerateRequest(call.path["model"], asked.call, version, asked.id, deadline, asked.priority, hints)


def _opening(generation: Generation, asked: GenerateAsked) -> bytes:
    """The JSON of an answer, up to its text."""
    fields = {"model_name": generation.model, "model_version": generation.version}
    if asked.id:
        fields["id"] = asked.id
    return dumps(fields)[:-1] + b',"text_output":'


class Pieces:
    """Implements `service.api.generation_stream.EventEncoder`: each event has the text that is new, behind `opening`.

    `opening`: the JSON of an answer, up to its text.
    """

    def __init__(self, opening: bytes) -> None:
        self._opening = b"data: " + opening

    def encode(self, events: Sequence[Event]) -> bytes:
        """One event a piece."""
        parts: list[bytes] = []
        for event in events:
            if type(event) is Delta and event.text:
                parts += (self._opening, dumps(event.text), b"}\n\n")
        return b"".join(parts)

    def end(self) -> bytes:
        """Nothing: the stream just ends."""
        return b""
