"""An answer of tensors as it is kept: nobody can change it, and it can be bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from engines.calls import NO_PARAMETERS, Parameter
from engines.errors import InvalidInputError
from engines.tensor import BYTES, Array, data_type, data_type_of, decode_raw, encode_raw
from service.cache.levels import Form
from service.types import Cached, InferResponse, Routed

_ARRAY_BYTES = 256
_ELEMENT_BYTES = 48
"""What numpy and Python take beside the contents."""
_MOST_DIMENSIONS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """`outputs`: read-only arrays."""

    model: str
    version: str
    outputs: dict[str, Array]
    engine: str
    tokens: int
    parameters: Mapping[str, Parameter]

    def response(self, cached: Cached, routed: Routed) -> InferResponse:
        """The answer for one more caller."""
        return InferResponse(
            self.model,
            self.version,
            self.outputs.copy(),
            self.engine,
            tokens=self.tokens,
            routed=routed,
            parameters=self.parameters,
            cached=cached,
        )


def answer_of(response: InferResponse, wanted: tuple[str, ...]) -> Answer:
    """A copy of what was answered, of the outputs that were `wanted`; () is all."""
    outputs = {name: _fixed(array) for name, array in response.outputs.items() if not wanted or name in wanted}
    return Answer(
        response.model,
        response.version,
        outputs,
        response.engine,
        response.tokens,
        MappingProxyType(dict(response.parameters)) if response.parameters else NO_PARAMETERS,
    )


def _fixed(array: Array) -> Array:
    """A copy that cannot be made writeable: what lies below it is `bytes`, or an array that only this knows."""
    if array.dtype != object:
        return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
    copied = array.copy()
    copied.flags.writeable = False
    return copied.view()


def size_of(answer: Answer) -> int:
    """Bytes of memory, about."""
    said = sum(_ELEMENT_BYTES + (len(value) if isinstance(value, str) else 0) for value in answer.parameters.values())
    return said + sum(_bytes_of(array) for array in answer.outputs.values())


def _bytes_of(array: Array) -> int:
    if array.dtype != object:
        return _ARRAY_BYTES + array.nbytes
    return _ARRAY_BYTES + sum(_ELEMENT_BYTES + len(item) for item in array.flat)


class _Tensor(Struct, array_like=True):
    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=_MOST_DIMENSIONS)]
    contents: bytes


class _Kept(Struct, array_like=True):
    model: str
    version: str
    outputs: list[_Tensor]
    engine: str
    tokens: int
    parameters: dict[str, Parameter]


_decode = msgspec.msgpack.Decoder(_Kept).decode


def encoded(answer: Answer) -> bytes | None:
    """The answer as MessagePack; None for what that cannot say: parameters beyond 64 bits, text that is no Unicode."""
    outputs = [
        _Tensor(name, data_type_of(array).name, list(array.shape), encode_raw(array))
        for name, array in answer.outputs.items()
    ]
    parameters = dict(answer.parameters)
    kept = _Kept(answer.model, answer.version, outputs, answer.engine, answer.tokens, parameters)
    try:
        return msgspec.msgpack.encode(kept)
    except (OverflowError, UnicodeEncodeError):
        return None


def decoded(content: bytes) -> Answer | None:
    """The answer; None where these are not the bytes of one."""
    try:
        kept = _decode(content)
        outputs = {one.name: _tensor(one) for one in kept.outputs}
    except (msgspec.MsgspecError, InvalidInputError, ValueError, OverflowError, RecursionError):
        return None
    return Answer(
        kept.model,
        kept.version,
        outputs,
        kept.engine,
        kept.tokens,
        MappingProxyType(kept.parameters) if kept.parameters else NO_PARAMETERS,
    )


def _tensor(one: _Tensor) -> Array:
    kind = data_type(one.datatype)
    array = decode_raw(one.contents, kind, one.shape)
    return _fixed(array) if kind is BYTES else array


ANSWER_FORM = Form(size_of, encoded, decoded)
