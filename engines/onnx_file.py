"""Finds where an ONNX file keeps weights outside itself, without loading them and without the onnx package.

Walks the protobuf of onnx.proto, entering only messages that lead to a TensorProto.
Source: https://protobuf.dev/programming-guides/encoding/ and the field numbers of onnx.proto.
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from engines.errors import ModelLoadError
from engines.model_files import path_inside

_EXTERNAL, _KEY, _VALUE = "external", 1, 2
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: _EXTERNAL},
}
"""Message -> field number -> the message in that field."""


def check_external_data(model: Path) -> None:
    """Raises `ModelLoadError` where `model` takes weights from outside its folder, or is not an ONNX file."""
    for location in external_locations(model):
        try:
            path_inside(model.parent, location)
        except ModelLoadError as error:
            raise ModelLoadError(f"{model.name}: external_data: {error}") from None


def external_locations(model: Path) -> set[str]:
    """The `location` of all external weights of an ONNX file, as they are written there."""
    try:
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            return set(_locations(buffer))
    except (IndexError, ValueError, RecursionError):
        raise ModelLoadError(f"{model.name}: is not an ONNX file, or is cut short; export it again") from None
    except OSError as error:
        raise ModelLoadError(f"{model.name}: cannot be read: {error.strerror}; check its permissions") from None


def _locations(buffer: mmap.mmap) -> Iterator[str]:
    for start, end in _external(buffer, "model", 0, len(buffer)):
        entry = {number: buffer[a:b] for number, a, b in _fields(buffer, start, end)}
        if entry.get(_KEY) == b"location":
            yield entry.get(_VALUE, b"").decode()


def _external(buffer: mmap.mmap, message: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the external_data entries of a message lie."""
    inner = _FIELDS[message]
    for number, a, b in _fields(buffer, start, end):
        kind = inner.get(number)
        if kind == _EXTERNAL:
            yield a, b
        elif kind is not None:
            yield from _external(buffer, kind, a, b)


def _fields(buffer: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of every length-delimited field; the others are stepped over."""
    position = start
    while position < end:
        tag, position = _varint(buffer, position)
        if not 8 <= tag < 2**32:
            raise ValueError("no such field")  # parsers differ in what they make of a larger tag
        match tag & 7:
            case 0:
                _, position = _varint(buffer, position)
            case 1:
                position += 8
            case 5:
                position += 4
            case 2:
                length, position = _varint(buffer, position)
                if position + length > end:
                    raise ValueError(f"field {tag >> 3} ends beyond its message")
                yield tag >> 3, position, position + length
                position += length
            case wire:
                raise ValueError(f"wire type {wire}")
    if position > end:
        raise ValueError("the last field ends beyond its message")


def _varint(buffer: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
