"""Triton's generate request as it is on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from engines.generation import GenerationCall, Options
from service.api.generation_fields import GenerationFields, options_of
from service.api.json_faults import decode_json
from service.errors import InvalidRequestError

_Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class GenerateParameters(GenerationFields, kw_only=True):
    """How to generate. They may stand beside `text_input`, as inputs of the model do, or under `parameters`.

    `exclude_input_in_output`: unless false, the text is only what is new. `timeout`: microseconds until the deadline;
    `priority`: 1 is the most urgent; `min_quality`: declared quality of what may answer.
    """

    stream: bool | None = None
    exclude_input_in_output: bool | None = None
    timeout: _Whole | None = None
    priority: _Whole | None = None
    min_quality: Annotated[float, Meta(ge=0, le=1)] | None = None


class GenerateMessage(GenerateParameters, kw_only=True):
    """The whole body."""

    text_input: str
    id: str = ""
    parameters: GenerateParameters | None = None


@dataclass(frozen=True, slots=True)
class GenerateAsked:
    """A request as it was understood. `stream`: what the caller says about it, None for nothing."""

    call: GenerationCall
    id: str
    stream: bool | None
    priority: int
    timing: Mapping[str, int]
    min_quality: float


_decode = msgspec.json.Decoder(GenerateMessage).decode


def decode_generate(body: bytes) -> GenerateAsked:
    """The request in `body`; raises `InvalidRequestError`."""
    message = decode_json(_decode, body)
    if not message.text_input:
        raise InvalidRequestError("text_input is empty; a model goes on from at least one token", "text_input")
    fields = _merged(message)
    timing = {} if fields.timeout is None else {"timeout": fields.timeout}
    return GenerateAsked(
        GenerationCall((message.text_input,), _options(fields)),
        message.id,
        fields.stream,
        fields.priority or 0,
        MappingProxyType(timing),
        fields.min_quality or 0.0,
    )


def _merged(message: GenerateMessage) -> GenerateParameters:
    """The parameters from both places."""
    inner = message.parameters
    if inner is None:
        return message
    for name in GenerateParameters.__struct_fields__:
        value = getattr(inner, name)
        if value is None:
            continue
        if getattr(message, name) is not None:
            raise InvalidRequestError(f"{name} is given twice, beside text_input and under parameters", name)
        setattr(message, name, value)
    return message


def _options(fields: GenerateParameters) -> Options:
    return replace(options_of(fields), echo=fields.exclude_input_in_output is False)
