"""Values of every data type, in each form that the protocols carry them in."""

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.conformance.catalog import TYPES

NUMPY = {
    "BOOL": "bool",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    **{name: name.lower() for name in TYPES if "INT" in name},
}
VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "UINT8": [0, 7, 255],
    "UINT16": [0, 7, 65535],
    "UINT32": [0, 7, 2**32 - 1],
    "UINT64": [0, 7, 2**64 - 1],
    "INT8": [-128, 0, 127],
    "INT16": [-32768, 0, 32767],
    "INT32": [-(2**31), 0, 2**31 - 1],
    "INT64": [-(2**63), 0, 2**63 - 1],
    "FP16": [-1.5, 0.0, 2.25],
    "FP32": [-1.5, 0.0, 3.25],
    "FP64": [-1.5, 0.0, 0.1],
    "BYTES": ["", "ab", "\u00e9\u4e2d"],
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """`values`: flat, as JSON has them."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: tuple[Any, ...]

    def raw(self) -> bytes:
        """Little-endian bytes; strings each behind their length."""
        if self.datatype != "BYTES":
            return np.array(self.values, NUMPY[self.datatype]).tobytes()
        items = [item.encode() if isinstance(item, str) else item for item in self.values]
        return b"".join(struct.pack("<I", len(item)) + item for item in items)

    def json(self, **changes: Any) -> dict[str, Any]:
        """The input as it stands in a request, with some of its fields changed or, where None, left out."""
        said = {"name": self.name, "shape": self.shape, "datatype": self.datatype, "data": self.values} | changes
        return {key: value for key, value in said.items() if value is not None}


def ints(name: str, count: int, start: int = 0, datatype: str = "INT32", *lead: int) -> Tensor:
    """A tensor [*lead, count] (lead: [1] where none is named) of whole numbers from `start`."""
    lead = lead or (1,)
    size = count * int(np.prod(lead))
    return Tensor(name, datatype, (*lead, count), tuple(range(start, start + size)))


def strings(name: str, count: int, start: int = 0) -> Tensor:
    """A tensor [1, count] of decimal strings."""
    return Tensor(name, "BYTES", (1, count), tuple(str(start + i) for i in range(count)))


def json_body(*tensors: dict[str, Any], **fields: Any) -> bytes:
    """An infer request in JSON."""
    return json.dumps({**fields, "inputs": list(tensors)}).encode()


def binary_body(*tensors: Tensor, **fields: Any) -> tuple[bytes, dict[str, str]]:
    """An infer request with its tensors in binary behind the JSON, and its headers."""
    blobs = [tensor.raw() for tensor in tensors]
    sizes = [{"binary_data_size": len(blob)} for blob in blobs]
    inputs = [t.json(data=None, parameters=size) for t, size in zip(tensors, sizes, strict=True)]
    head = json.dumps({**fields, "inputs": inputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return b"".join((head, *blobs)), headers
