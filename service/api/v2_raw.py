"""Triton's "raw binary request": the whole body is the one input's tensor."""

import numpy as np

from engines.errors import InvalidInputError
from engines.tensor import BYTES, Array, DataType, Signature
from service import triton_words
from service.api.v2_request import Wanted, WantedOutput, decode_binary
from service.errors import InvalidRequestError
from service.types import InferRequest

RAW_WANTED = Wanted({}, WantedOutput(binary=True))
"""A raw request has no place to say what it wants: all outputs, in binary, as Triton answers it."""


def decode_raw_request(model: str, version: str, body: bytes, signature: Signature) -> InferRequest:
    """A request whose whole body is the one input's tensor (Triton's "raw binary request").

    The shape comes from the signature and the size: one dimension may be variable, and where none is the batch
    dimension is. BYTES is a single element without its length. Raises `InvalidRequestError`.
    """
    required = [spec for spec in signature.inputs if not spec.optional] or list(signature.inputs)
    if len(required) != 1:
        raise InvalidRequestError(
            f"a raw request needs a model of one input, {model!r} takes {len(required)}; send the inference header"
        ).as_triton(triton_words.raw_inputs(model, len(required)))
    spec = required[0]
    shape = list(spec.shape)
    if signature.max_batch_size:
        shape.insert(0, 1 if -1 in shape else -1)
    if spec.datatype is BYTES:
        return InferRequest(model, {spec.name: _one_element(body, spec.name, shape)}, version)
    array = _fit(body, spec.name, spec.datatype, shape)
    return InferRequest(model, {spec.name: array}, version)


def _one_element(body: bytes, name: str, shape: list[int]) -> Array:
    shape = [1 if size == -1 else size for size in shape]
    if any(size != 1 for size in shape):
        raise InvalidRequestError(f"a raw request holds one BYTES element, input {name!r} has shape {shape}", name)
    element = np.empty(1, BYTES.numpy)
    element[0] = body
    return element.reshape(shape)


def _fit(body: bytes, name: str, datatype: DataType, shape: list[int]) -> Array:
    if shape.count(-1) > 1:
        raise InvalidRequestError(
            f"a raw request leaves one dimension open, input {name!r} has shape {shape}; send the inference header",
            name,
        )
    known = datatype.size
    for size in shape:
        known *= 1 if size == -1 else size
    fixed = [len(body) // max(known, 1) if size == -1 else size for size in shape]
    try:
        return decode_binary(body, datatype, fixed)
    except InvalidInputError as error:
        raise InvalidRequestError(f"input {name!r}: {error}", name) from None
