"""POST /v1/embeddings."""

from collections.abc import Sequence

import numpy as np

from engines.tensor import Array
from service.access.account import check_may_ask
from service.api.body import check_json, read_body
from service.api.deadlines import deadline_of
from service.api.disconnect import while_connected
from service.api.endpoint import Call
from service.api.errors import OK
from service.api.explain import explain_answer
from service.api.headers import answer_headers
from service.api.hints import hints_of
from service.api.known import ready_signature
from service.api.limits import Limits
from service.api.openai_input import decode_input
from service.api.openai_messages import decode_embeddings, encode_embeddings
from service.api.openai_tensors import check_dimensions, embedding_output, embedding_tensors, shorten
from service.api.reply import JSON_TYPE, Reply
from service.errors import EngineFailedError
from service.gateway import Gateway
from service.types import InferRequest, InferResponse


class Embeddings:
    """Embeds texts or token ids by a model with an FP32 output of one vector a text.

    Answers are never compressed: clients accept it without being asked, and vectors hardly shrink.
    """

    def __init__(self, gateway: Gateway, limits: Limits) -> None:
        self._gateway = gateway
        self._limits = limits

    async def __call__(self, call: Call) -> Reply:
        """Raises `BatchyardError`."""
        gateway, limits = self._gateway, self._limits
        arrived = gateway.clock()
        given_body = await read_body(call.receive, call.headers, limits)
        check_json(len(given_body), limits)
        message = decode_embeddings(given_body)
        given = decode_input(message.input, limits.max_embedding_inputs, "input")
        check_may_ask(call.tenant, message.model)
        signature = ready_signature(gateway, message.model)
        output = embedding_output(message.model, signature)
        check_dimensions(message.dimensions, output.shape[-1])
        timeout = gateway.timeout_of(message.model) or limits.default_timeout
        deadline, hints = deadline_of(arrived, call.headers, {}, timeout), hints_of(call.headers, tenant=call.tenant)
        requests = [
            InferRequest(message.model, {name: array}, outputs=(output.name,), deadline=deadline, hints=hints)
            for name, array in embedding_tensors(message.model, signature, given)
        ]
        responses = await while_connected(gateway.infer_all(requests), call.receive, limits.disconnect_delay)
        vectors = shorten(_vectors(responses, output.name), message.dimensions)
        tokens = sum([response.tokens for response in responses])
        body = encode_embeddings(vectors, message.model, message.encoding_format, tokens)
        slowest = _slowest(responses)
        headers = [JSON_TYPE, *answer_headers(slowest)]
        return Reply(OK, body, [*headers, explain_answer(slowest)] if hints.explain else headers)


def _vectors(responses: Sequence[InferResponse], name: str) -> Array:
    parts = [response.outputs[name] for response in responses]
    rows = [part.reshape(-1, part.shape[-1]) for part in parts]
    vectors = rows[0] if len(rows) == 1 else np.concatenate(rows)
    if not np.isfinite(vectors).all():
        raise EngineFailedError(f"model {responses[0].model!r} gave an embedding that is not finite")
    return vectors


def _slowest(responses: Sequence[InferResponse]) -> InferResponse:
    """The answer whose timing stands for all of them: the one that took longest."""
    return max(responses, key=lambda response: response.timing.queue + response.timing.compute)
