"""The Open Inference Protocol's infer request as it is on the wire."""

import json
import re
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from engines.calls import Parameter
from service.api.json_tensors import MAX_RANK
from service.errors import InvalidRequestError

Dimension = Annotated[int, Meta(ge=0)]
_NO_DATA = Raw(b"")
_NON_FINITE = re.compile(rb"\b(?:NaN|Infinity)\b")


class InputTensor(Struct):
    """One input; `data` is kept as it is until its datatype is known."""

    name: str
    shape: Annotated[list[Dimension], Meta(max_length=MAX_RANK)]
    datatype: str
    parameters: dict[str, Parameter] = {}
    data: Raw = _NO_DATA


class RequestedOutput(Struct):
    """One output that the caller asks for."""

    name: str
    parameters: dict[str, Parameter] = {}


class InferMessage(Struct):
    """The JSON part of an infer request."""

    inputs: list[InputTensor]
    id: str = ""
    parameters: dict[str, Parameter] = {}
    outputs: list[RequestedOutput] = []


_decode = msgspec.json.Decoder(InferMessage).decode


def decode_message(body: bytes | memoryview) -> InferMessage:
    """The request in `body`. Raises `InvalidRequestError` that says where it is wrong.

    The bare words NaN and Infinity are no JSON, but clients write them (tritonclient for one), so they are taken.
    """
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"the infer request is not right: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if _NON_FINITE.search(body):
            return _decode_with_non_finite(body)
        raise InvalidRequestError(f"the infer request is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError("the infer request is nested too deep") from None


def _decode_with_non_finite(body: bytes | memoryview) -> InferMessage:
    try:
        parsed = json.loads(bytes(body), parse_constant=str)
        return _decode(json.dumps(parsed).encode())
    except RecursionError:
        raise InvalidRequestError("the infer request is nested too deep") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidRequestError(f"the infer request is not right: {error}") from None
