"""The key of what is cached: SHA-256 over framed fields, so that no two requests that differ share one."""

import struct
from collections.abc import Iterable, Mapping
from hashlib import sha256

from engines.calls import Parameter
from engines.tensor import BYTES, Array, Tensors, data_type_of, encode_raw

KEY_BYTES = 32

_LENGTH = struct.Struct("<Q")
_NUMBER = struct.Struct("<d")
_pack = _LENGTH.pack


def framed(fields: Iterable[bytes]) -> bytes:
    """The fields in one, each behind its length: unlike fields never give the same bytes. May be a field itself."""
    return b"".join([part for field in fields for part in (_pack(len(field)), field)])


def key_of(fields: Iterable[bytes]) -> bytes:
    """32 bytes. The first field says what kind of thing it is the key of."""
    return sha256(framed(fields)).digest()


def word(text: str) -> bytes:
    """A name as a field."""
    return text.encode("utf-8", "surrogatepass")


def tensors_field(tensors: Tensors) -> bytes:
    """Names, data types, shapes and contents, in the order of the names."""
    return framed([_tensor(name, tensors[name]) for name in sorted(tensors)])


def parameters_field(parameters: Mapping[str, Parameter]) -> bytes:
    """Names and values, in the order of the names; 1, 1.0, True and "1" are four values."""
    if not parameters:
        return b""
    return framed([part for name in sorted(parameters) for part in (word(name), _value(parameters[name]))])


def _tensor(name: str, array: Array) -> bytes:
    kind = data_type_of(array)
    shape = b"".join([_pack(size) for size in array.shape])
    return framed((word(name), kind.name.encode(), shape, _contents(array) if kind is BYTES else array.tobytes()))


def _contents(array: Array) -> bytes:
    """Of BYTES: each element behind its length."""
    return array.flat[0] if array.size == 1 else encode_raw(array)


def _value(value: Parameter) -> bytes:
    match value:
        case bool():
            return b"b1" if value else b"b0"
        case int():
            return b"i%d" % value
        case float():
            return b"f" + _NUMBER.pack(value)
        case _:
            return b"s" + word(value)
