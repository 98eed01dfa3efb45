"""Text that is generated, as tensors: what Triton's clients of language models send and read (its vLLM backend)."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np

from engines.generation import Delta, GenerationCall, Usage
from engines.tensor import BOOL, BYTES, Array, data_type_of
from service.api.generation_fields import GenerationFields, options_of
from service.api.json_faults import shorten
from service.errors import InvalidRequestError
from service.gateway import Gateway
from service.generating import GenerateRequest, Generation
from service.types import InferRequest, InferResponse

_TEXT, _STREAM, _SAMPLING, _NEW_ONLY = "text_input", "stream", "sampling_parameters", "exclude_input_in_output"
_OPTIONAL = (_STREAM, _SAMPLING, _NEW_ONLY)
_OUTPUT = "text_output"


async def open_text(gateway: Gateway, request: InferRequest) -> "GeneratedResponses":
    """Has text generated that goes on from `text_input`, BYTES [1]; raises `BatchyardError`, as does reading it.

    Optional inputs: `stream`, BOOL [1], in pieces rather than in one answer; `sampling_parameters`, BYTES [1], a JSON
    object, to which the request's parameters add; `exclude_input_in_output`, BOOL [1]: unless it is true, the one
    answer starts with the text; pieces cannot.
    """
    _check_names(request)
    pieces = _flag(request.inputs, _STREAM, False)
    echo = not _flag(request.inputs, _NEW_ONLY, pieces)
    if echo and pieces:
        text = f"{_NEW_ONLY} is false, which answers in pieces cannot do; leave it out, or set {_STREAM} to false"
        said = "Error generating stream: When streaming, `exclude_input_in_output` = False is not allowed."
        raise InvalidRequestError(text, _NEW_ONLY).as_triton(said)
    options = replace(options_of(_fields(request)), echo=echo)
    call = GenerationCall((_text(request.inputs, _TEXT),), options)
    asked = GenerateRequest(
        request.model, call, request.version, request.id, request.deadline, request.priority, request.hints
    )
    return GeneratedResponses(await gateway.generate(asked), pieces)


def generates(gateway: Gateway, name: str) -> bool:
    """Does this name stand for a model that generates text? Raises `NotFoundError`."""
    info = gateway.model(name)
    models = [gateway.model(variant) for variant in info.variants] or [info]
    return any(model.config is not None and model.config.generation is not None for model in models)


def _check_names(request: InferRequest) -> None:
    unknown = sorted(request.inputs.keys() - {_TEXT, *_OPTIONAL})
    if unknown or _TEXT not in request.inputs:
        found = ", ".join(sorted(request.inputs)) or "none"
        text = f"a model that generates text takes {_TEXT} and perhaps {', '.join(_OPTIONAL)}; found {found}"
        raise InvalidRequestError(text, unknown[0] if unknown else _TEXT)
    for name in request.outputs:
        if name != _OUTPUT:
            raise InvalidRequestError(f"unknown output {name!r}; a model that generates text has {_OUTPUT}", name)


def _fields(request: InferRequest) -> GenerationFields:
    """The tensor's count before the request's; what is there only because headers are forwarded does not count."""
    headers, given = request.hints.headers, request.parameters
    asked: dict[str, object] = {name: value for name, value in given.items() if name.encode() not in headers}
    try:
        if _SAMPLING in request.inputs:
            asked |= msgspec.json.decode(_text(request.inputs, _SAMPLING), type=dict[str, object])
        return msgspec.convert(asked, GenerationFields, strict=False)
    except (msgspec.DecodeError, RecursionError) as error:
        text = f"the sampling parameters are not right: {shorten(str(error))}"
        raise InvalidRequestError(text, _SAMPLING) from None


def _text(inputs: Mapping[str, Array], name: str) -> str:
    value = _only(inputs, name)
    if not isinstance(value, bytes):
        raise InvalidRequestError(f"input {name!r} has datatype {data_type_of(inputs[name])}, wanted {BYTES}", name)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"input {name!r} is not UTF-8", name) from None


def _flag(inputs: Mapping[str, Array], name: str, default: bool) -> bool:
    if name not in inputs:
        return default
    value = _only(inputs, name)
    if not isinstance(value, np.bool_):
        raise InvalidRequestError(f"input {name!r} has datatype {data_type_of(inputs[name])}, wanted {BOOL}", name)
    return bool(value)


def _only(inputs: Mapping[str, Array], name: str) -> object:
    array = inputs[name]
    if array.size != 1:
        raise InvalidRequestError(f"input {name!r} has shape {list(array.shape)}, wanted [1]", name)
    return array.reshape(-1)[0]


class GeneratedResponses:
    """Implements `service.types.Responses` over generated text: `text_output`, BYTES [1], what is new since the answer
    before where it comes in `pieces`, else all of it."""

    def __init__(self, generation: Generation, pieces: bool) -> None:
        self._generation = generation
        self._pieces = pieces
        self._ended = False

    async def read(self) -> InferResponse | None:
        """See `Responses`."""
        text: list[str] = []
        while not self._ended:
            events = await self._generation.read()
            text += [event.text for event in events if isinstance(event, Delta) and event.text]
            self._ended = not events or isinstance(events[-1], Usage)
            if self._ended or (text and self._pieces):
                return self._response("".join(text))
        return None

    def _response(self, text: str) -> InferResponse:
        made, array = self._generation, np.empty(1, BYTES.numpy)
        array[0] = text.encode()
        outputs = {_OUTPUT: array}
        return InferResponse(
            made.model, made.version, outputs, made.engine, routed=made.routed, final=self._ended, cached=made.cached
        )

    def close(self) -> None:
        """See `Responses`."""
        self._generation.close()
