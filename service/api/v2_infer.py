"""POST /v2/models/{model}[/versions/{version}]/infer."""

from functools import partial

from service.api.body import check_json, read_body
from service.api.classification import classify_outputs
from service.api.compression import compressed
from service.api.disconnect import while_connected
from service.api.endpoint import Call
from service.api.explain import explain_answer
from service.api.headers import answer_headers, size_header
from service.api.known import ready_signature
from service.api.limits import Limits
from service.api.manner import Manner
from service.api.notes import Note, Notes
from service.api.reply import Reply
from service.api.v2_parameters import settle
from service.api.v2_raw import RAW_WANTED, decode_raw_request
from service.api.v2_request import Wanted, decode_request
from service.api.v2_response import encode_response
from service.gateway import Gateway
from service.types import InferRequest


class Infer:
    """Decodes an infer request, asks the gateway, encodes the answer."""

    def __init__(self, gateway: Gateway, limits: Limits, manner: Manner) -> None:
        self._gateway = gateway
        self._limits = limits
        self._non_finite = manner.non_finite
        self._notes = Notes()

    async def __call__(self, call: Call) -> Reply:
        """Raises `BatchyardError`."""
        gateway, limits = self._gateway, self._limits
        arrived = gateway.clock()
        body = await read_body(call.receive, call.headers, limits)
        request, wanted, note = self._understand(call, body)
        timeout = gateway.timeout_of(request.model) or limits.default_timeout
        settle(request, call.headers, arrived, timeout, call.tenant, limits.forward)
        response = await while_connected(gateway.infer(request), call.receive, limits.disconnect_delay)
        if wanted.classes:
            classify_outputs(response, wanted.classes, gateway.model(request.model, request.version).signature)
        encode = partial(encode_response, response, request.id, wanted, self._non_finite)
        if note is None:
            reply = encode()
        else:
            note.content = request.content
            reply = note.reply_to(response, encode)
        reply.headers += answer_headers(response)
        if request.hints.explain:
            reply.headers.append(explain_answer(response))
        return await compressed(reply, call.headers, limits)

    def _understand(self, call: Call, body: bytes) -> tuple[InferRequest, Wanted, Note | None]:
        model, version = call.path["model"], call.path.get("version", "")
        header_length = size_header(call.headers, b"inference-header-content-length")
        if header_length == 0:
            signature = ready_signature(self._gateway, model, version)
            return decode_raw_request(model, version, body, signature), RAW_WANTED, None
        check_json(len(body) if header_length is None else header_length, self._limits)
        if self._limits.forward or not self._gateway.caches(model):
            return *decode_request(model, version, body, header_length), None
        place = (call.tenant.name, model, version, header_length, body)
        note = self._notes.find(place)
        if note is not None:
            return note.again(), note.wanted, note
        request, wanted = decode_request(model, version, body, header_length)
        note = self._notes.take(place, request, wanted)
        return note.again() if note else request, wanted, note
