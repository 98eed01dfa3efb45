"""ModelInfer."""

from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

from service.api.classification import Classes, classify_outputs
from service.api.explain import explain_answer
from service.api.grpc.calls import Call
from service.api.grpc.infer_messages import decode_request, fill_response
from service.api.headers import answer_headers
from service.api.limits import Limits
from service.api.v2_parameters import settle
from service.gateway import Gateway
from service.types import InferRequest


class Understanding:
    """Makes a request of a message, whichever method brings it."""

    def __init__(self, gateway: Gateway, limits: Limits) -> None:
        self._gateway = gateway
        self._limits = limits

    def tensors(self, message: ModelInferRequest, call: Call, arrived: float) -> tuple[InferRequest, Classes]:
        """The request with its deadline and all that its parameters and metadata say, and what is wanted as classes.

        `arrived`: on the gateway's clock. Raises `InvalidRequestError`.
        """
        return self._settled(message, call, arrived, self._limits.default_timeout)

    def text(self, message: ModelInferRequest, call: Call, arrived: float) -> tuple[InferRequest, Classes]:
        """The same for a model that generates text, which by default may take longer."""
        return self._settled(message, call, arrived, self._limits.generation_timeout)

    def _settled(
        self, message: ModelInferRequest, call: Call, arrived: float, default_timeout: float
    ) -> tuple[InferRequest, Classes]:
        request, classes = decode_request(message)
        remaining = call.context.time_remaining()
        timeout = remaining
        if timeout is None:
            timeout = self._gateway.timeout_of(request.model) or default_timeout
        settle(request, call.headers, arrived, timeout, call.tenant, self._limits.forward)
        if remaining is not None:
            request.deadline = min(request.deadline, arrived + remaining)
        return request, classes


class Infer:
    """Decodes a request, asks the gateway, encodes the answer."""

    def __init__(self, gateway: Gateway, understand: Understanding) -> None:
        self._gateway = gateway
        self._understand = understand

    async def __call__(self, message: ModelInferRequest, call: Call) -> ModelInferResponse:
        """Raises `BatchyardError`."""
        request, classes = self._understand.tensors(message, call, call.arrived)
        response = await self._gateway.infer(request)
        if classes:
            signature = self._gateway.model(request.model, request.version).signature
            classify_outputs(response, classes, signature)
        call.trailing += answer_headers(response)
        if request.hints.explain:
            call.trailing.append(explain_answer(response))
        reply = ModelInferResponse()
        fill_response(reply, response, request.id)
        return reply
