"""Text that is generated, as tensors: what Triton's clients of language models send and read (its vLLM backend)."""

from collections.abc import Mapping

import msgspec
import numpy as np

from engines.generation import Delta, GenerationCall
from engines.tensor import BYTES, Array, data_type_of
from service.api.generation_fields import GenerationFields, options_of
from service.errors import InvalidRequestError
from service.gateway import Gateway
from service.generating import GenerateRequest, Generation
from service.types import InferRequest, InferResponse, Responses

_INPUTS = ("text_input", "stream", "sampling_parameters")
"""BYTES [1]; BOOL [1], optional: in pieces, or as one answer; BYTES [1], optional: a JSON object."""


async def open_stream(gateway: Gateway, request: InferRequest) -> Responses:
    """Has a request taken whose answers come as they are made; raises `BatchyardError`, as does reading them."""
    if not generates(gateway, request.model):
        return await gateway.stream(request)
    call = GenerationCall((_text(request),), options_of(_fields(request)))
    asked = GenerateRequest(
        request.model, call, request.version, request.id, request.deadline, request.priority, request.hints
    )
    whole = "stream" in request.inputs and not _only(request.inputs["stream"], "stream")
    return GeneratedResponses(await gateway.generate(asked), whole)


def generates(gateway: Gateway, name: str) -> bool:
    """Does this name stand for a model that generates text? Raises `NotFoundError`."""
    info = gateway.model(name)
    models = [gateway.model(variant) for variant in info.variants] or [info]
    return any(model.config is not None and model.config.generation is not None for model in models)


def _text(request: InferRequest) -> str:
    unknown = sorted(request.inputs.keys() - set(_INPUTS))
    if unknown or "text_input" not in request.inputs:
        found = sorted(request.inputs)
        text = f"a model that generates text takes text_input and perhaps {' and '.join(_INPUTS[1:])}; found {found}"
        raise InvalidRequestError(text, unknown[0] if unknown else "text_input")
    return _decoded(request.inputs["text_input"], "text_input")


def _fields(request: InferRequest) -> GenerationFields:
    """The sampling parameters, of the tensor and of the request."""
    given: Mapping[str, object] = {}
    try:
        if "sampling_parameters" in request.inputs:
            text = _decoded(request.inputs["sampling_parameters"], "sampling_parameters")
            given = msgspec.json.decode(text, type=dict[str, object])
        return msgspec.convert({**given, **request.parameters}, GenerationFields, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidRequestError(f"the sampling parameters are not right: {error}", "sampling_parameters") from None


def _decoded(array: Array, name: str) -> str:
    value = _only(array, name)
    if not isinstance(value, bytes):
        raise InvalidRequestError(f"input {name!r} has datatype {data_type_of(array)}, wanted BYTES", name)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"input {name!r} is not UTF-8", name) from None


def _only(array: Array, name: str) -> object:
    if array.size != 1:
        raise InvalidRequestError(f"input {name!r} has shape {list(array.shape)}, wanted [1]", name)
    return array.reshape(-1)[0]


class GeneratedResponses:
    """Implements `Responses` over generated text: `text_output`, BYTES [1], what is new in each answer, or `whole` in
    one. The last is empty where it comes in pieces."""

    def __init__(self, generation: Generation, whole: bool) -> None:
        self._generation = generation
        self._whole = whole
        self._ended = False

    async def read(self) -> InferResponse | None:
        """See `Responses`."""
        pieces: list[str] = []
        while not self._ended:
            events = await self._generation.read()
            self._ended = not events
            pieces += [event.text for event in events if isinstance(event, Delta)]
            if "".join(pieces) and not self._whole:
                return self._response("".join(pieces), final=False)
            if self._ended:
                return self._response("".join(pieces), final=True)
        return None

    def _response(self, text: str, *, final: bool) -> InferResponse:
        made = self._generation
        outputs = {} if final and not self._whole else {"text_output": _tensor(text)}
        return InferResponse(made.model, made.version, outputs, made.engine, routed=made.routed, final=final)

    def close(self) -> None:
        """See `Responses`."""
        self._generation.close()


def _tensor(text: str) -> Array:
    array = np.empty(1, BYTES.numpy)
    array[0] = text.encode()
    return array
